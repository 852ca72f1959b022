"""The command line: one parser, one module per command, loaded only when its command is run.

`main` picks the command; `commands` lists them. A command module has two functions:
``add_arguments(parser)`` and ``run(args) -> int``. What a command prints for people is a pure
function of the answer (`*_views`); with ``--json`` the answer itself is printed.
"""
