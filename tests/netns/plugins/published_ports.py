"""A container whose ports are published, and whoever reaches them: for tests of ``portmap``.

::

    pod 10.1.0.5 ── br0 10.1.0.1 │ host │ up0 192.0.2.1 ── 192.0.2.9 outside

The container is attached by hand; ``outside`` is the fixture that is the world.
"""

import re
import socket
from typing import Any, Final, Self

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, config_of, without_waiting
from podway.netlink import entered

BACKENDS: Final = ("iptables", "nftables")
HOST, HOST_SIX = "192.0.2.1", "2001:db8::1"
POD, POD_SIX = "10.1.0.5", "fd01::5"
TCP: Final = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
UDP: Final = {"hostPort": 8053, "containerPort": 53, "protocol": "udp"}
ARRIVES_WITHIN_S: Final = 10
both_backends = pytest.mark.parametrize("backend", BACKENDS)
_FORWARDING: Final = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def attach(host: Netns, pod: Netns, number: int = 5) -> Document:
    """Attach a container to bridge br0 by hand; return the result that a plugin would have."""
    if "br0" not in host.ip("link"):
        without_waiting(host).exec("sysctl", "-qw", *_FORWARDING)
        host.ip("link", "add", "br0", "type", "bridge")
        host.ip("addr", "add", "10.1.0.1/24", "dev", "br0")
        host.ip("addr", "add", "fd01::1/64", "nodad", "dev", "br0")
        host.ip("link", "set", "br0", "up")
    without_waiting(pod)
    port = f"port{number}"
    host.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", pod.name)
    host.ip("link", "set", port, "master", "br0", "up")
    # What the bridge plugin does with hairpinMode: a container reaches itself.
    host.exec("bridge", "link", "set", "dev", port, "hairpin", "on")
    pod.ip("addr", "add", f"10.1.0.{number}/24", "dev", "eth0")
    pod.ip("addr", "add", f"fd01::{number}/64", "nodad", "dev", "eth0")
    pod.ip("link", "set", "eth0", "up")
    pod.ip("route", "add", "default", "via", "10.1.0.1")
    pod.ip("route", "add", "default", "via", "fd01::1")
    return result_of(pod.path, number)


def result_of(sandbox: str, number: int = 5) -> Document:
    """Return the result of a bridge plugin."""
    return {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": sandbox}],
        "ips": [
            {"address": f"10.1.0.{number}/24", "interface": 1},
            {"address": f"fd01::{number}/64", "interface": 1},
        ],
    }


def portmap(*mappings: Document, **keys: Any) -> Document:
    """Return a configuration that publishes *mappings*."""
    return config_of("portmap", runtimeConfig={"portMappings": list(mappings or (TCP,))}, **keys)


def rules(host: Netns) -> str:
    """Return all rules of the host's namespace, without counters."""
    listed = host.exec("nft", "list", "ruleset")
    return re.sub(r"counter packets \d+ bytes \d+", "counter", listed)


def traces(host: Netns, container: str = "c1") -> list[str]:
    """Return what is left of a container's rules."""
    listed = rules(host)
    own = [line for line in listed.splitlines() if "CNI-DN-" in line]
    return own + re.findall(rf'.*comment "{container}".*', listed)


class Server:
    """Sockets of a container on port 80 (TCP) or 53 (UDP)."""

    def __init__(self, pod: Netns, port: int, kind: int, address: str = POD) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with entered(pod.fd):
            self.socket = socket.socket(family, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        if kind == socket.SOCK_STREAM:
            self.socket.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def seen(self) -> str:
        """Answer whoever comes next, and return its address."""
        self.socket.settimeout(ARRIVES_WITHIN_S)
        if self.socket.type == socket.SOCK_STREAM:
            accepted, peer = self.socket.accept()
            with accepted:
                accepted.sendall(b"hello")
        else:
            _, peer = self.socket.recvfrom(100)
            self.socket.sendto(b"hello", peer)
        return str(peer[0])


def client_in(netns: Netns, address: str, kind: int) -> socket.socket:
    """Return a socket of *netns* that can reach *address*."""
    with entered(netns.fd):
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.settimeout(ARRIVES_WITHIN_S)
    return made


def reach(client: Netns, pod: Netns, to: str, mapping: Document = TCP, address: str = POD) -> str:
    """Reach a published port and get an answer; return the address that the container sees.

    Raises:
        OSError: there is no way, or no answer.
    """
    kind = socket.SOCK_STREAM if mapping["protocol"] == "tcp" else socket.SOCK_DGRAM
    with (
        Server(pod, mapping["containerPort"], kind, address) as server,
        client_in(client, to, kind) as caller,
    ):
        caller.connect((to, mapping["hostPort"]))
        caller.send(b"hello") if kind == socket.SOCK_DGRAM else None
        seen = server.seen()
        assert caller.recv(10) == b"hello"
    return seen


def is_refused(client: Netns, to: str, port: int = 8080) -> bool:
    """Tell whether nobody listens there."""
    with client_in(client, to, socket.SOCK_STREAM) as caller:
        try:
            caller.connect((to, port))
        except ConnectionRefusedError:
            return True
    return False
