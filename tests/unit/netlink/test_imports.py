"""What importing the package costs, counted in modules; bench/netlink.py tells the time."""

import json
import subprocess
from pathlib import Path

import podway.netlink

PACKAGE = Path(podway.netlink.__path__[0])
MODULES = sorted(
    "podway.netlink" if path.stem == "__init__" else f"podway.netlink.{path.stem}"
    for path in PACKAGE.glob("*.py")
)
# C modules and builtins alone; __future__ is what the compiler loads for its annotations.
ALLOWED = {"__future__", "_socket", "_struct", "errno", "podway", "podway.errors", *MODULES}


def loaded_by(statement: str) -> set[str]:
    """Return the modules that *statement* loads in the system's Python, without site."""
    script = (
        "import sys; before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(PACKAGE.parents[1])!r})\n"
        f"{statement}\n"
        "after = set(sys.modules) - before\n"
        "import json; print(json.dumps(sorted(after)))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-IS", "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_the_whole_package_loads_nothing_but_c_modules() -> None:
    assert loaded_by("import " + ", ".join(MODULES)) == ALLOWED


def test_the_package_itself_loads_nothing_yet() -> None:
    assert loaded_by("import podway.netlink") == {"__future__", "podway", "podway.netlink"}


def test_a_request_loads_only_what_it_needs() -> None:
    loaded = loaded_by("from podway.netlink import NetlinkSocket, create_route")
    assert "podway.netlink.routes" in loaded
    assert not loaded & {f"podway.netlink.{name}" for name in ("links", "events", "netns")}


def test_every_public_name_is_where_it_is_said_to_be() -> None:
    homes = {
        name: module for module, names in podway.netlink._HOMES.items() for name in names.split()
    }
    assert sorted(homes) == sorted(podway.netlink.__all__)
    for name in podway.netlink.__all__:
        assert getattr(podway.netlink, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    assert not hasattr(podway.netlink, "create_universe")
