"""Containers on bridges, behind what ``firewall`` lets through, and what is left of its rules."""

import re
from typing import Any, Final

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, without_waiting

BACKENDS: Final = ("iptables", "nftables")
both_backends = pytest.mark.parametrize("backend", BACKENDS)


def firewall(runtime: Runtime, **keys: Any) -> Document:
    return config_of("firewall", dataDir=str(runtime.directory / "firewall"), **keys)


def result_of(number: int = 5, bridge: str = "br1") -> Document:
    """Return the result of a bridge plugin for container *number*."""
    subnet = bridge.removeprefix("br")
    return {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": bridge}, {"name": "eth0", "sandbox": "/x"}],
        "ips": [
            {"address": f"10.{subnet}.0.{number}/24", "interface": 1},
            {"address": f"fd0{subnet}::{number}/64", "interface": 1},
        ],
    }


def attach(host: Netns, pod: Netns, number: int = 5, bridge: str = "br1") -> Document:
    """Attach a container to a bridge by hand; return the result that a plugin would have."""
    without_waiting(host)
    without_waiting(pod)
    host.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    subnet, port = bridge.removeprefix("br"), f"{bridge}p{number}"
    if bridge not in host.ip("link"):
        host.ip("link", "add", bridge, "type", "bridge")
        host.ip("addr", "add", f"10.{subnet}.0.1/24", "dev", bridge)
        host.ip("addr", "add", f"fd0{subnet}::1/64", "dev", bridge)
        host.ip("link", "set", bridge, "up")
    host.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", pod.name)
    host.ip("link", "set", port, "master", bridge, "up")
    pod.ip("addr", "add", f"10.{subnet}.0.{number}/24", "dev", "eth0")
    pod.ip("addr", "add", f"fd0{subnet}::{number}/64", "dev", "eth0")
    pod.ip("link", "set", "eth0", "up")
    for gateway in (f"10.{subnet}.0.1", f"fd0{subnet}::1"):
        pod.ip("route", "add", "default", "via", gateway)
    return result_of(number, bridge)


def traces(runtime: Runtime, *addresses: str) -> list[str]:
    """Return what is left of attachments: rules with an address, and notes."""
    rules = runtime.host.exec("nft", "list", "ruleset").splitlines()
    found = [line for line in rules for address in addresses if re.search(rf"{address}\b", line)]
    directory = runtime.directory / "firewall"
    notes = [path.name for path in directory.iterdir()] if directory.exists() else []
    return found + [note for note in notes if note.removesuffix(".new") in addresses]


OURS: Final = ("10.1.0.5", "fd01::5")
