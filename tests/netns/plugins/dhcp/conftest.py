"""The link, a server that can be started on it, and the daemon of the ``dhcp`` plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.plugins.cni_runtime import Runtime
from netns.plugins.dhcp.network import DaemonPlace, Dnsmasq, Program, make_link


@pytest.fixture(autouse=True)
def _link(runtime: Runtime) -> None:
    """Give the host the link, with nobody on it."""
    make_link(runtime.host)


@pytest.fixture
def server(runtime: Runtime, tmp_path: Path) -> Dnsmasq:
    """Return dnsmasq, which does not run yet."""
    return Dnsmasq(runtime.host, tmp_path)


@pytest.fixture
def place(runtime: Runtime, run_directory: Path) -> DaemonPlace:
    """Return where the daemon has its files."""
    return DaemonPlace(runtime.host, run_directory)


@pytest.fixture
def command(executables: Path) -> tuple[Path, str]:
    """Return what starts the daemon."""
    return executables / "dhcp", "daemon"


@pytest.fixture
def daemon(place: DaemonPlace, command: tuple[Path, str]) -> Iterator[Program]:
    """Return the daemon, which runs."""
    with place.running(*command) as program:
        yield program
