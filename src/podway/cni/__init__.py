"""The CNI protocol, pure: requests in, results and errors out, and the frames to the agent.

`requests` says what a runtime asks, `results` what it is told, `errors` what it is told when that
fails, `podway_conf` what the `podway` plugin reads in its configuration, `frames` how its
executable and the agent speak. No module here has effects or imports more than C modules: an
executable that uses them lives 10 ms (``tests/unit/plugins/test_import_light.py`` holds the list).
"""
