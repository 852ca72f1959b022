"""Tunnel packets with a wrong checksum are dropped by the kernel without a word; podway tells."""

import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from lab.probes import eventually
from podway.lab.names import namespace_of
from podway.lab.namespaces import opened
from podway.lab.specs import LabSpec
from podway.lab.statuses import read_statuses
from podway.lab.underlay import underlay_addresses
from podway.model.addresses import Family
from podway.netlink import entered

VXLAN_PORT = 8472


@pytest.mark.parametrize("family", [Family.IPV4, Family.IPV6], ids=["IPv4", "IPv6"])
def test_wrong_checksums_are_told(make_lab: Callable[..., LabSpec], family: Family) -> None:
    spec = make_lab(families=(family,))
    assert told(spec, "n2") == 0
    send_wrong(spec, family, count=3)
    eventually("they are told", lambda: told(spec, "n2") == 3)
    assert told(spec, "n1") == 0


def told(spec: LabSpec, node: str) -> Any:
    statuses, _ = read_statuses(spec)
    return statuses[node]["checksum_errors"]


def send_wrong(spec: LabSpec, family: Family, count: int) -> None:
    """Send VXLAN packets from n1 to n2 whose outer checksum is wrong, as a broken card does."""
    (target,) = underlay_addresses(spec, 2)
    vxlan = struct.pack("!II", 0x08000000, 1 << 8) + bytes(60)
    packet = struct.pack("!HHHH", 40000, VXLAN_PORT, 8 + len(vxlan), 0xDEAD) + vxlan
    kind = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
    with opened(namespace_of(spec.name, "n1")) as fd, entered(fd):
        sender = socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_UDP)
    with sender:
        for _ in range(count):
            sender.sendto(packet, (str(target), 0))
