"""What an executable loads: it lives about 10 ms, and one careless import doubles that."""

import subprocess
from pathlib import Path

import pytest

from podway.plugins.executables import base_interpreter, package_directory
from podway.plugins.registry import PLUGINS, Plugin

# C modules that are part of the interpreter, or one small shared object, and what the netlink
# package needs for its annotations.
C_MODULES = {
    "__future__",
    "_ctypes",
    "_json",
    "_sha512",
    "_socket",
    "_struct",
    "binascii",
    "errno",
    "fcntl",
    "itertools",
    "select",
}
# What runs in the command line and not in executables: it may load what it likes.
INSTALLERS = {"bundles", "conflists", "executables", "install"}

# What every call of `podway` loads; an ADD loads namespaces besides, an error the modules that
# validate.
PODWAY_MODULES = {
    "podway",
    "podway.errors",
    "podway.cni",
    "podway.cni.documents",
    "podway.cni.errors",
    "podway.cni.frames",
    "podway.plugins",
    "podway.plugins.podway",
    "podway.plugins.process",
}


def loaded_by(*modules: str) -> set[str]:
    """Return what a bare interpreter loads for *modules*, beyond what it has at its start."""
    script = (
        "import sys; before = set(sys.modules)\n"
        f"sys.path.append({package_directory()!r})\n"
        f"for name in {modules!r}: __import__(name)\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [base_interpreter(), "-IS", "-c", script]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def modules_of(package: str, without: frozenset[str] = frozenset()) -> set[str]:
    directory = Path(package_directory(), *package.split("."))
    names = {path.stem for path in directory.glob("[a-z]*.py")} - without
    return {package, *(f"{package}.{name}" for name in names)}


def light_modules() -> set[str]:
    """Return the modules that executables consist of."""
    installers = frozenset(INSTALLERS)
    return {
        "podway",
        "podway.errors",
        *modules_of("podway.cni"),
        *modules_of("podway.netlink"),
        *modules_of("podway.plugins", installers),
    }


def test_podway_loads_no_more_than_it_needs() -> None:
    assert loaded_by("podway.plugins.podway") - C_MODULES == PODWAY_MODULES


def test_loopback_loads_no_tables_of_messages() -> None:
    loaded = {each for each in loaded_by("podway.plugins.loopback") if "netlink" in each}
    names = ("errors", "loopback_device", "netns")
    assert loaded == {"podway.netlink", *(f"podway.netlink.{name}" for name in names)}


def test_whatever_an_executable_may_load_is_light() -> None:
    modules = light_modules()
    assert {"podway.cni.results", "podway.plugins.skeleton", "podway.netlink.netns"} <= modules
    assert loaded_by(*sorted(modules)) - C_MODULES == modules


@pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in PLUGINS])
def test_every_executable_stays_light(plugin: Plugin) -> None:
    loaded = loaded_by(plugin.module)
    assert plugin.module in loaded
    assert loaded <= C_MODULES | light_modules()
