"""Two nodes on one link; on the first podway's relay, on the second whatever a test puts there.

A node's own address in the tunnel (10.244.1.0, fd00:10:244:1::) stands for its pods: what a relay
writes into TUN for it reaches sockets of the node's namespace, and what they send goes into TUN.
"""

import json
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from netns.conftest import Netns
from podway.netlink import entered
from podway.udp.control import RelayClient, RelayConfig
from podway.udp.launch import start_relay
from podway.udp.peers import Peer
from podway.udp.tun import create_tun, keep_tun

T = TypeVar("T")

PORT = 8285
DEV = "podway0"
PLAIN_DEV = "plain0"
PATIENCE_S = 5.0
RELAY_IN_C = Path(__file__).parents[3] / "bench" / "udp_relay.c"


def inside(netns: Netns, call: Callable[[], T]) -> T:
    """Return what *call* returns in a thread that is in *netns*."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            with entered(netns.fd):
                outcome.append(call())
        except BaseException as error:  # noqa: BLE001  (handed to the caller)
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def address4(number: int) -> str:
    return f"192.0.2.{number}"


def address6(number: int) -> str:
    return f"2001:db8::{number}"


def underlay(version: int, number: int) -> str:
    """Return the address of node *number* on the link."""
    return address4(number) if version == 4 else address6(number)


def own(version: int, number: int) -> str:
    """Return the tunnel address of node *number*."""
    return f"10.244.{number}.0" if version == 4 else f"fd00:10:244:{number}::"


def subnet4(number: int) -> str:
    return f"10.244.{number}.0/24"


def subnet6(number: int) -> str:
    return f"fd00:10:244:{number}::/64"


def peer4(number: int, *, segments: bool = False) -> Peer:
    """Return node *number*'s pods of IPv4."""
    return Peer(subnet4(number), (address4(number), PORT), segments)


def peer6(number: int, *, segments: bool = False) -> Peer:
    """Return node *number*'s pods of IPv6."""
    return Peer(subnet6(number), (address6(number), PORT), segments)


class Node:
    """A node: its namespace, its uplink, and its tunnel's device.

    Args:
        netns: a fresh namespace with eth0 in it.
        number: 1 or 2; the node's addresses have it.
        directory: for control sockets.
        stack: undoes everything.
    """

    def __init__(self, netns: Netns, number: int, directory: Path, stack: ExitStack) -> None:
        self.netns, self.number = netns, number
        self.path = str(directory / f"{number}.sock")
        self._stack = stack
        netns.ip("link", "set", "eth0", "up")
        netns.ip("address", "add", f"{address4(number)}/24", "dev", "eth0")
        netns.ip("address", "add", f"{address6(number)}/64", "dev", "eth0", "nodad")

    def wait_until_reached(self) -> None:
        """Wait until eth0, whose other end is up, sends and receives."""
        self.wait_for_link("eth0")
        self.wait_for_address6(address6(self.number))

    def make_tunnel(self, dev: str = DEV) -> None:
        """Make the TUN device *dev* and lead the pods' network into it."""
        if dev == DEV:
            inside(self.netns, lambda: _make_tun(dev))
        else:
            self.netns.ip("tuntap", "add", "dev", dev, "mode", "tun")
        # As podway makes it: no address of its own on which to speak of multicast groups.
        self.netns.ip("link", "set", dev, "mtu", "1472", "addrgenmode", "none")
        self.netns.ip("link", "set", dev, "up")
        self.netns.ip("address", "add", f"10.244.{self.number}.0/32", "dev", dev)
        self.netns.ip("-6", "address", "add", f"fd00:10:244:{self.number}::/128", "dev", dev)
        self.netns.ip("route", "add", "10.244.0.0/16", "dev", dev)
        self.netns.ip("route", "add", "fd00:10:244::/48", "dev", dev, "mtu", "1452")
        self.write_sysctl(f"ipv4/conf/{dev}/accept_local", "1")
        self.wait_for_address6(own(6, self.number))

    def write_sysctl(self, path: str, value: str) -> None:
        inside(self.netns, lambda: Path(f"/proc/sys/net/{path}").write_text(value, "ascii"))

    @property
    def config(self) -> RelayConfig:
        number = self.number
        return RelayConfig(
            DEV, PORT, (address4(number), address6(number)), (subnet4(number), subnet6(number))
        )

    def start(self, *peers: Peer, config: RelayConfig | None = None) -> RelayClient:
        """Start podway's relay with *peers*; it ends with the test."""
        inside(self.netns, lambda: start_relay(self.path, config or self.config))
        relay = RelayClient(self.path)
        self._stack.callback(_stop, relay)
        relay.set(peers)
        return relay

    def wait_for_link(self, dev: str, state: str = "UP") -> None:
        """Wait until *dev* is in *state*: only UP does it send what it gets, before it drops.

        (net/core/link_watch.c, linkwatch_do_dev.) What `ip` says of its queue is no sign: that is
        there as soon as the device is up.
        """
        self._wait_for(lambda: self._link(dev)["operstate"] == state, f"{dev} is not {state}")

    def _link(self, dev: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.netns.ip("-j", "link", "show", "dev", dev))
        return found[0]

    def wait_for_address6(self, address: str) -> None:
        """Wait until the IPv6 *address* is this node's: the kernel makes it so in its own time.

        (net/ipv6/addrconf.c, addrconf_dad_work, also without duplicate address detection.) Until
        then it answers for the address to nobody, and sends on what comes for it.
        """

        def is_local() -> bool:
            return address in self.netns.ip("-6", "route", "show", "table", "local")

        self._wait_for(is_local, f"{address} is nobody's")

    @staticmethod
    def _wait_for(is_so: Callable[[], bool], otherwise: str) -> None:
        for _ in range(int(PATIENCE_S * 100)):
            if is_so():
                return
            time.sleep(0.01)
        raise AssertionError(otherwise)

    def start_plain(self, program: str, *peers: Peer) -> None:
        """Start the relay in C with *peers*; it ends with the test."""
        routes = [word for peer in peers for word in (peer.prefix, peer.where[0])]
        command = [program, PLAIN_DEV, address4(self.number), str(PORT), *routes]
        process = inside(self.netns, lambda: subprocess.Popen(command, stdout=subprocess.PIPE))
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        assert process.stdout.readline() == b"ready\n"
        self.wait_for_link(PLAIN_DEV)

    def open(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0
    ) -> socket.socket:
        """Return a socket in the namespace."""
        opened = inside(self.netns, lambda: socket.socket(family, kind, protocol))
        return self.keep(opened)

    def keep(self, opened: socket.socket) -> socket.socket:
        """Return *opened*, with patience; it is closed after the test."""
        self._stack.callback(opened.close)
        opened.settimeout(PATIENCE_S)
        return opened

    def bound(self, address: str, port: int = PORT) -> socket.socket:
        """Return a UDP socket bound to *address* and *port*."""
        opened = self.open(socket.AF_INET6 if ":" in address else socket.AF_INET)
        opened.bind((address, port))
        return opened


def _make_tun(dev: str) -> None:
    fd = create_tun(dev)
    try:
        keep_tun(fd)
    finally:
        os.close(fd)


def _stop(relay: RelayClient) -> None:
    """End *relay*, unless the test did."""
    if relay.fileno() >= 0:
        if not relay.has_ended():
            relay.stop()
        relay.close()


def compile_relay(directory: Path) -> str:
    """Return the path of the relay in C, compiled into *directory*."""
    program = str(directory / "udp_relay")
    subprocess.run(["cc", "-O2", "-o", program, str(RELAY_IN_C)], check=True)
    return program


def wait_for_counter(relay: RelayClient, name: str, least: int = 1) -> int:
    """Return the counter *name* once it is at least *least*."""
    poll = select.poll()
    for _ in range(int(PATIENCE_S * 100)):
        found = relay.counters()[name]
        if found >= least:
            return found
        poll.poll(10)
    raise AssertionError(f"{name} is {relay.counters()[name]} and never {least}")


def transfer(sender: socket.socket, receiver: socket.socket, data: bytes) -> bytes:
    """Send *data* from one end of a TCP connection, end it, and return what the other end gets."""
    received = bytearray()

    def read() -> None:
        while piece := receiver.recv(1 << 16):
            received.extend(piece)

    reading = threading.Thread(target=read)
    reading.start()
    sender.sendall(data)
    sender.shutdown(socket.SHUT_WR)
    reading.join()
    return bytes(received)


def connect(client: Node, server: Node, address: str) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection from *client* to *server*'s *address*."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = server.open(family, socket.SOCK_STREAM)
    listener.bind((address, 0))
    listener.listen()
    first = client.open(family, socket.SOCK_STREAM)
    first.connect((address, listener.getsockname()[1]))
    second, _ = listener.accept()
    return first, server.keep(second)


def drain(opened: socket.socket, count: int) -> Sequence[bytes]:
    """Return the next *count* datagrams."""
    return [opened.recv(1 << 16) for _ in range(count)]
