"""CNI executables, one module each, and what puts them in place.

`registry` lists them, `install` writes them into a runtime's plugin directory. What all of them do
at their edges stands in `process` (environment, standard input and output) and `namespaces`.

A module that an executable imports loads nothing but C modules and `podway.cni`
(``tests/unit/plugins/test_import_light.py`` holds the list): the process lives about 10 ms.
"""
