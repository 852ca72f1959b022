"""STATUS where the kernel has no such devices, and where it has: on each kernel what `ip` says."""

import subprocess

import pytest

from netns.plugins.cni_runtime import Document, Runtime, config_of
from podway.cni.errors import UNAVAILABLE

STATIC: Document = {"type": "static", "addresses": [{"address": "10.1.0.5/24"}]}
KEYS: dict[str, Document] = {
    "dummy": {"ipam": STATIC},
    "ipvlan": {"master": "up0", "ipam": STATIC},
    "macvlan": {"master": "up0"},
    "vlan": {"master": "up0", "vlanId": 7, "ipam": STATIC},
    "vrf": {"vrfname": "blue"},
}
# Behind `ip link add name probe0`.
WORDS = {
    "dummy": "type dummy",
    "ipvlan": "link up0 type ipvlan",
    "macvlan": "link up0 type macvlan",
    "vlan": "link up0 type vlan id 8",
    "vrf": "type vrf table 10",
}


def kernel_has(runtime: Runtime, kind: str) -> bool:
    """Tell whether `ip` can make a device of *kind*."""
    words = f"ip link add name probe0 {WORDS[kind]}".split()
    command = ["nsenter", f"--net={runtime.host.path}", *words]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("kind", KEYS)
def test_status_knows_what_the_kernel_has(kind: str, runtime: Runtime) -> None:
    runtime.host.ip("link", "add", "up0", "type", "veth", "peer", "name", "wire")
    wanted = 0 if kernel_has(runtime, kind) else UNAVAILABLE
    assert runtime.call("STATUS", config_of(kind, **KEYS[kind])).code == wanted
