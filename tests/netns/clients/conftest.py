"""Container runtimes from Debian, each on a machine of its own, with podway's plugins."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.clients.cri import Containerd, new_containerd
from netns.clients.machine import Machine, make_root, new_machine
from netns.clients.podman import Podman, new_podman
from netns.conftest import MakeNetns
from podway.plugins.install import install


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with podway's plugins and nothing else."""
    directory = tmp_path_factory.mktemp("cni")
    install(directory)
    return directory


@pytest.fixture(scope="session")
def root_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tar file with the root directory of an image."""
    return make_root(tmp_path_factory.mktemp("image") / "root.tar")


@pytest.fixture
def machine(make_netns: MakeNetns, tmp_path: Path) -> Iterator[Machine]:
    """Return a machine."""
    with new_machine(make_netns(), tmp_path) as machine:
        yield machine
    shutil.rmtree(tmp_path)


@pytest.fixture
def podman(machine: Machine, executables: Path, root_archive: Path) -> Iterator[Podman]:
    """Return podman with its CNI back end."""
    with new_podman(machine, executables, root_archive) as podman:
        yield podman


@pytest.fixture
def containerd(machine: Machine, executables: Path, root_archive: Path) -> Iterator[Containerd]:
    """Return containerd, running."""
    with new_containerd(machine, executables, root_archive) as containerd:
        yield containerd
