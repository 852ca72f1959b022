"""What an executable loads: it lives about 10 ms, and one careless import doubles that."""

import subprocess
from pathlib import Path

import pytest

from podway.plugins.executables import base_interpreter, package_directory
from podway.plugins.registry import PLUGINS

# C modules that are part of the interpreter, or one small shared object (_json).
C_MODULES = {"_json", "_socket", "errno", "fcntl"}

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
LIGHT_PACKAGES = {"podway", "podway.errors", "podway.plugins"}
LIGHT_PLUGIN_MODULES = {"podway.plugins.process", "podway.plugins.namespaces"}


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


def cni_modules() -> set[str]:
    directory = Path(package_directory()) / "podway" / "cni"
    return {"podway.cni", *(f"podway.cni.{path.stem}" for path in directory.glob("[a-z]*.py"))}


def test_podway_loads_no_more_than_it_needs() -> None:
    assert loaded_by("podway.plugins.podway") - C_MODULES == PODWAY_MODULES


def test_the_protocol_loads_c_modules_alone() -> None:
    modules = cni_modules()
    assert "podway.cni.results" in modules
    assert loaded_by(*modules) - C_MODULES - LIGHT_PACKAGES == modules


@pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in PLUGINS])
def test_every_executable_stays_light(plugin: object) -> None:
    module = plugin.module  # type: ignore[attr-defined]
    allowed = C_MODULES | LIGHT_PACKAGES | LIGHT_PLUGIN_MODULES | cni_modules() | {module}
    assert loaded_by(module, *LIGHT_PLUGIN_MODULES) <= allowed
