"""podman with its CNI back end, as Debian 12 has it, on podway's plugins."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netns.clients.machine import Machine

# cgroups and limits as any machine grants them; journald and systemd are not needed.
_CONTAINERS = """\
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "{directory}/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
num_locks = 64
tmp_dir = "{directory}/tmp"
[containers]
log_driver = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
_STORAGE = """\
[storage]
driver = "vfs"
graphroot = "{directory}/graph"
runroot = "{directory}/run"
"""
_CONFIGURATION = {"CONTAINERS_CONF": _CONTAINERS, "CONTAINERS_STORAGE_CONF": _STORAGE}
_IMAGE = "busybox"


@dataclass(frozen=True)
class Podman:
    """One podman with images, networks and containers of its own."""

    machine: Machine

    def __call__(self, *arguments: str) -> str:
        """Run podman, and return what it prints."""
        return self.machine.run("podman", *arguments).strip()

    def run(self, name: str, *options: str, command: str = "sleep 1000") -> str:
        """Start a container in the background, and return its identifier."""
        return self("run", "-d", "--name", name, *options, _IMAGE, "sh", "-c", command)

    def addresses(self, name: str) -> dict[str, list[str]]:
        """Return the container's addresses (with prefix length) by interface."""
        listed: dict[str, list[str]] = {}
        for line in self("exec", name, "ip", "-o", "addr").splitlines():
            _, device, family, address, *_ = line.split()
            if device != "lo" and family.startswith("inet") and not address.startswith("fe80"):
                listed.setdefault(device, []).append(address)
        return listed

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what podman has been told of the container's networks."""
        settings: dict[str, Any] = json.loads(self("inspect", name))[0]["NetworkSettings"]
        return settings


@contextmanager
def new_podman(machine: Machine, plugins: Path, root_archive: Path) -> Iterator[Podman]:
    """Configure podman on *machine*, and make an image for it; its containers end with the test.

    By podman itself: their cgroups are the one thing of theirs that no namespace takes with it.
    """
    directory = machine.directory
    for name in ("networks", "tmp"):
        directory.joinpath(name).mkdir()
    for variable, content in _CONFIGURATION.items():
        file = directory / variable.lower()
        file.write_text(content.format(plugins=plugins, directory=directory))
        machine.environment[variable] = str(file)
    podman = Podman(machine)
    podman("import", str(root_archive), _IMAGE)
    try:
        yield podman
    finally:
        podman("rm", "--all", "--force", "--time=0")
