"""A link with a real DHCP server on it, and the daemon, for tests of the ``dhcp`` plugin.

::

    host namespace    up0 ── wire ┐
                                  br0 10.9.0.1/24 ── dnsmasq or udhcpd
                      pods' veths ┘
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, config_of

DNSMASQ = Path("/usr/sbin/dnsmasq")
UDHCPD = Path("/usr/sbin/udhcpd")
# Of leases that are to be renewed within the test, after half of that. dnsmasq's last 2 minutes.
SHORT_LEASE_S: Final = 2
# What all tests of the plugin need, and some besides.
NEEDS: Final = [
    pytest.mark.kernel("macvlan"),
    pytest.mark.skipif(not DNSMASQ.exists(), reason="needs dnsmasq-base"),
]
needs_udhcpd = pytest.mark.skipif(not UDHCPD.exists(), reason="needs udhcpd")
_PATIENCE_S = 30.0
_PAUSE_S = 0.02


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until *condition* holds; fail if it never does."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never happened: {what}"
        time.sleep(_PAUSE_S)


@dataclass
class Program:
    """A process in a namespace, and what it writes to stderr."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self, words: str) -> int:
        """Return how often *words* stand in what it wrote."""
        return self.log.read_text(errors="replace").count(words)

    def await_start(self, words: str) -> None:
        """Wait until it writes *words*; fail if it ends instead."""
        eventually(lambda: self.said(words) or self.process.poll() is not None, f"{words!r}")
        assert self.process.poll() is None, self.log.read_text()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        """End it in order; return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=_PATIENCE_S)


@contextmanager
def running(
    netns: Netns, log: Path, *argv: str | Path, environment: dict[str, str] | None = None
) -> Iterator[Program]:
    """Run a program in *netns* while the block lasts."""
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            ["nsenter", f"--net={netns.path}", *argv],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={"PATH": os.environ["PATH"], **(environment or {})},
        )
    try:
        yield Program(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def make_link(host: Netns) -> None:
    """Make the link of the drawing above."""
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "set", "br0", "up")
    host.ip("addr", "add", "10.9.0.1/24", "dev", "br0")
    host.ip("link", "add", "up0", "type", "veth", "peer", "name", "wire")
    host.ip("link", "set", "wire", "master", "br0", "up")
    host.ip("link", "set", "up0", "up")


@dataclass(frozen=True)
class Dnsmasq:
    """A server that can be started with different options, its leases in one file.

    Attributes:
        host: where it runs.
        directory: of its files.
    """

    host: Netns
    directory: Path

    @contextmanager
    def serving(self, *options: str, first: int = 100, last: int = 200) -> Iterator[Program]:
        """Run the server while the block lasts; leases last 2 minutes, which is its least."""
        argv: list[str | Path] = [
            DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0",
            "--no-ping", "--interface=br0", "--bind-interfaces", "--log-facility=-", "--log-dhcp",
            f"--dhcp-range=10.9.0.{first},10.9.0.{last},2m", "--dhcp-authoritative",
            f"--dhcp-leasefile={self.directory}/leases", f"--pid-file={self.directory}/pid",
            *options,
        ]  # fmt: skip
        log = self.directory / "dnsmasq.log"
        log.unlink(missing_ok=True)
        with running(self.host, log, *argv) as program:
            program.await_start("sockets bound exclusively")
            yield program

    def leases(self) -> dict[str, tuple[str, str]]:
        """Return host name and client identifier by address."""
        try:
            lines = (self.directory / "leases").read_text().splitlines()
        except FileNotFoundError:
            return {}
        words = (line.split() for line in lines)
        return {address: (name, client) for _, _, address, name, client in words}


@contextmanager
def udhcpd(host: Netns, directory: Path, lease_s: int) -> Iterator[Program]:
    """Run busybox's server, which gives leases of seconds."""
    path = directory / "udhcpd.conf"
    path.write_text(
        f"start 10.9.0.100\nend 10.9.0.200\ninterface br0\nmin_lease 1\nmax_leases 50\n"
        f"lease_file {directory}/udhcpd.leases\npidfile {directory}/udhcpd.pid\n"
        f"option subnet 255.255.255.0\noption router 10.9.0.1\noption lease {lease_s}\n"
    )
    (directory / "udhcpd.leases").touch()
    log = directory / "udhcpd.log"
    # In the order of the arguments: in the foreground, and no ping before an offer.
    with running(host, log, UDHCPD, "-f", "-a0", path) as program:
        program.await_start("started")
        yield program


@dataclass(frozen=True)
class DaemonPlace:
    """Where a daemon has its files.

    Attributes:
        host: where it runs.
        directory: short enough for a socket in it.
    """

    host: Netns
    directory: Path

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.directory / "dhcp.sock"

    @property
    def state(self) -> Path:
        """Where it keeps leases."""
        return self.directory / "state"

    def options(self) -> tuple[str, ...]:
        """Return what it is started with in any case."""
        return (
            "-socketpath",
            str(self.socket),
            f"-statedir={self.state}",
            "-probetime=30ms",
            "--log-level=debug",
        )

    @contextmanager
    def running(self, *command: str | Path, more: tuple[str, ...] = ()) -> Iterator[Program]:
        """Run *command* with the options of this place, and *more*, while the block lasts."""
        log = self.directory / "daemon.log"
        log.unlink(missing_ok=True)
        with running(self.host, log, *command, *self.options(), *more) as program:
            program.await_start("ready")
            yield program

    def kept(self) -> int:
        """Return how many leases are on disk."""
        return len(list(self.state.glob("*.json")))


def attached(place: DaemonPlace, plugin: str = "macvlan", **ipam: Any) -> Document:
    """Return the configuration of a main plugin with addresses by DHCP."""
    keys = {"macvlan": {"master": "up0"}, "bridge": {"bridge": "br0"}}[plugin]
    told = {"type": "dhcp", "daemonSocketPath": str(place.socket), **ipam}
    return config_of(plugin, ipam=told, **keys)


def address_in(result: Document) -> str:
    """Return the address in a result, without prefix length."""
    address: str = result["ips"][0]["address"]
    return address.partition("/")[0]
