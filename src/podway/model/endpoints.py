"""Pods' interfaces on this node: who they belong to and which addresses they hold."""

import hashlib

from msgspec import Struct

from podway.model.addresses import IPAddress
from podway.model.networks import Attach


class EndpointKey(Struct, frozen=True, order=True):
    """Identity of one interface of one container in one network.

    A container may be attached twice (two networks, or two interfaces), so neither the container's
    nor the pod's name alone identifies anything.
    """

    network: str
    container_id: str
    ifname: str

    def __str__(self) -> str:
        return f"{self.network}/{self.container_id[:12]}/{self.ifname}"


class Endpoint(Struct, frozen=True, kw_only=True):
    """One interface of one pod.

    Attributes:
        key: identity.
        netns: path of the pod's network namespace, as the runtime named it.
        addresses: one per family, from this node's subnets.
        attach: how the interface meets the node.
        mtu: bytes, what the pod's interface carries.
        mac: address of the pod's interface, where the runtime asked for one; else derived.
        pod: ``namespace/name`` as the runtime told it; "" where it told nothing.
    """

    key: EndpointKey
    netns: str
    addresses: tuple[IPAddress, ...]
    attach: Attach
    mtu: int
    pod: str = ""
    mac: str = ""

    @property
    def host_ifname(self) -> str:
        """Name of the host end: a function of the key, so that it can be found after a crash."""
        return host_ifname(self.key)


def host_ifname(key: EndpointKey) -> str:
    """Return ``pw`` and 11 hexadecimal digits (13 of the kernel's 15 bytes) for *key*."""
    text = f"{key.network}\x00{key.container_id}\x00{key.ifname}"
    return f"pw{hashlib.sha256(text.encode()).hexdigest()[:11]}"
