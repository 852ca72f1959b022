"""A node with a WireGuard device, its peers, and `wg` as the witness."""

import os
import signal
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from netns.conftest import Netns
from netns.kernel.nodes import Node
from podway.kernel.wireguard_keys import WireguardKey, public_key
from podway.model.kernel import (
    WIREGUARD_ALIAS,
    AllowedIp,
    KernelObject,
    Link,
    Wireguard,
    WireguardDevice,
    WireguardPeer,
)
from podway.model.secret import Secret

DEV = "podway-wg"
LINK = Link(name=DEV, kind=Wireguard(), mtu=1420, alias=WIREGUARD_ALIAS)
PSK = b64encode(bytes(range(32))).decode()


def key_number(number: int) -> str:
    return public_key(bytes((number,)) * 32)


def peer_number(number: int, **fields: Any) -> WireguardPeer:
    usual = {"endpoint": ip_address(f"192.0.2.{number}"), "port": 51820}
    return WireguardPeer(dev=DEV, public_key=key_number(number), **{**usual, **fields})


def allowed(prefix: str, number: int) -> AllowedIp:
    return AllowedIp(DEV, ip_network(prefix), key_number(number))


PEERS: tuple[KernelObject, ...] = (
    peer_number(2, psk=Secret(PSK), keepalive_s=25),
    allowed("10.244.2.0/24", 2),
    allowed("fd00:10:244:2::/64", 2),
    peer_number(3, endpoint=ip_address("2001:db8::3")),
    allowed("10.244.3.0/24", 3),
)


class WireguardNode(Node):
    """A node's kernel and a witness of its WireGuard devices."""

    def __init__(self, netns: Netns, directory: Path) -> None:
        super().__init__(netns, directory)
        self.key = WireguardKey(directory / "wireguard.key")

    @property
    def own(self) -> tuple[KernelObject, ...]:
        return LINK, WireguardDevice(dev=DEV, public_key=self.key.public(), listen_port=51820)

    def wg(self, *words: str) -> list[list[str]]:
        """Return what ``wg`` says, in fields."""
        script = 'mkdir -p /run/wireguard; mount --bind "$0" /run/wireguard; exec wg "$@"'
        sockets = str(self.directory / "wireguard")
        command = ["unshare", "--mount", "sh", "-ec", script, sockets, *words]
        return [line.split("\t") for line in self.netns.exec(*command).splitlines()]

    def peers(self) -> dict[str, list[str]]:
        return {line[0]: line[1:] for line in self.wg("show", DEV, "dump")[1:]}


@contextmanager
def running(node: WireguardNode) -> Iterator[WireguardNode]:
    """Give *node* and, at the end, take its processes away."""
    try:
        yield node
    finally:
        node.kernel.close()
        for pid in node.processes():
            os.kill(pid, signal.SIGKILL)
