"""The daemon's own edges: how it is started, and whatever comes to its socket or over the link."""

import json
import random
import socket
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Runtime
from netns.plugins.dhcp.network import (
    NEEDS,
    SHORT_LEASE_S,
    DaemonPlace,
    Dnsmasq,
    Program,
    attached,
    eventually,
    udhcpd,
)
from podway.cni.errors import TRY_AGAIN_LATER, UNAVAILABLE
from podway.cni.frames import FrameBuffer, decode_response, encode_request
from podway.netlink import entered

pytestmark = NEEDS


def test_without_daemon(runtime: Runtime, pod: Netns, place: DaemonPlace) -> None:
    config = {**attached(place), "type": "dhcp"}
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    assert runtime.call("STATUS", config).code == UNAVAILABLE
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda command: runtime.call(command, config, pod), ("ADD", "DEL"))
    for outcome in outcomes:
        assert outcome.code == TRY_AGAIN_LATER
        # What containerd would take for a container that is not there.
        assert "not found" not in outcome.msg
        assert "no such file" not in outcome.msg.lower()


def ask(place: DaemonPlace, *frames: bytes, descriptors: tuple[int, ...] = ()) -> bytes:
    """Send bytes to the daemon, with *descriptors*; return what it answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(10)
        link.connect(str(place.socket))
        for frame in frames:
            socket.send_fds(link, [frame], list(descriptors))
        link.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            return b"".join(iter(lambda: link.recv(65536), b""))
        return b""


@pytest.mark.usefixtures("daemon")
def test_what_is_no_request(runtime: Runtime, pod: Netns, place: DaemonPlace) -> None:
    config = {**attached(place), "type": "dhcp"}
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": pod.path,
        "CNI_IFNAME": "eth0",
    }
    whole = encode_request(environment, json.dumps(config))
    rng = random.Random(7)
    bad = [b"", b"\0" * 4, b"\xff" * 8, whole[:50], whole + b"x", rng.randbytes(200)]
    bad += [bytes([*(10).to_bytes(4, "big"), *rng.randbytes(10)]) for _ in range(20)]
    for frame in bad:
        ask(place, frame)
    # ADD without namespace, with two, and with what is none.
    with (runtime.directory / "file").open("w") as file:
        for descriptors in ((), (pod.fd, pod.fd), (file.fileno(),)):
            payload = FrameBuffer(1 << 20).feed(ask(place, whole, descriptors=descriptors))
            assert payload is not None
            code, _ = decode_response(payload)
            assert code == 1
    assert runtime.call("STATUS", config).code == 0


def spray(host: Netns, packets: list[bytes]) -> None:
    """Send *packets* from a server's port to every client on the link."""
    with entered(host.fd):
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"br0")
        link.bind(("10.9.0.1", 67))
        for packet in packets:
            link.sendto(packet, ("255.255.255.255", 68))


@pytest.mark.usefixtures("daemon")
def test_malformed_packets(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace, daemon: Program
) -> None:
    rng = random.Random(11)
    head = struct.pack("!BBBB", 2, 1, 6, 0)
    packets = [rng.randbytes(rng.randrange(0, 700)) for _ in range(100)]
    packets += [
        head + rng.randbytes(232) + b"\x63\x82\x53\x63" + rng.randbytes(rng.randrange(0, 300))
        for _ in range(200)
    ]
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(runtime.add, attached(place), pod)
        eventually(lambda: daemon.said("kind=DISCOVER"), "a first message")
        spray(runtime.host, packets)
        eventually(lambda: daemon.said("not understood") > 50, "the daemon reads them")
        with server.serving():
            assert result.result()["ips"]
    assert daemon.said("Traceback") == 0


@pytest.mark.parametrize(
    "make_command",
    [
        pytest.param(lambda path: (path / "dhcp", "daemon"), id="the executable"),
        pytest.param(lambda _: (sys.executable, "-m", "podway.cli", "dhcp"), id="podway dhcp"),
    ],
)
def test_ways_to_start(
    make_command: Callable[[Path], tuple[str | Path, ...]],
    executables: Path,
    runtime: Runtime,
    place: DaemonPlace,
) -> None:
    pidfile = place.directory / "pid"
    with place.running(*make_command(executables), "-pidfile", str(pidfile)) as program:
        assert pidfile.read_text() == str(program.process.pid)
        assert place.socket.stat().st_mode & 0o777 == 0o600
        assert runtime.call("STATUS", attached(place)).code == 0
        assert program.end() == 0
    assert not pidfile.exists()
    assert not place.socket.exists()


# Does what systemd does for a socket unit: descriptor 3 listens (sd_listen_fds(3)).
ACTIVATION = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_socket_of_systemds(
    runtime: Runtime, place: DaemonPlace, command: tuple[Path, str]
) -> None:
    activation = (sys.executable, "-c", ACTIVATION, str(place.socket))
    with place.running(*activation, *command) as program:
        assert runtime.call("STATUS", attached(place)).code == 0
        assert program.end() == 0
    # The socket is systemd's: calls wait there for the next daemon.
    assert place.socket.exists()


def test_a_host_prefix(
    runtime: Runtime,
    pod: Netns,
    place: DaemonPlace,
    command: tuple[Path, str],
) -> None:
    """The daemon sees the host's files elsewhere, as in a container."""
    prefix = place.directory / "host"
    prefix.symlink_to("/")
    with (
        udhcpd(runtime.host, place.directory, SHORT_LEASE_S),
        place.running(*command, "-hostprefix", str(prefix)) as program,
    ):
        runtime.add(attached(place), pod)
        eventually(lambda: program.said("bound") >= 2, "a renewal, by the path")
        assert place.kept() == 1
