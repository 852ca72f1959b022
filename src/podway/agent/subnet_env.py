"""The file ``subnet.env``: what a node's CNI plugin ``flannel``, or Docker, wants to know.

In: the node's `Place`. Out: the file, replaced whole and readable for all, in flanneld's order::

    FLANNEL_NETWORK=10.244.0.0/16
    FLANNEL_SUBNET=10.244.1.1/24
    FLANNEL_IPV6_NETWORK=fd00:244::/48
    FLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64
    FLANNEL_MTU=1450
    FLANNEL_IPMASQ=true

An address with host bits (the gateway's) and not the subnet's own: Docker takes it for --bip. There
is one MTU for both families, so it is the smaller one. What a former daemon wrote there is read at
the start: the subnets that this node would like to have again.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_interface
from pathlib import Path

from msgspec.structs import replace

from podway.compute.gateways import bridge_gateway
from podway.compute.node import Place
from podway.kernel.logs import Log
from podway.model.addresses import Family, IPNetwork, family_of
from podway.model.nodes import Claim

_MODE = 0o644
_SUBNETS = ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET")


def render_subnet_env(place: Place) -> str:
    """Return what the file says of a node at *place*."""
    lines = []
    for lease in place.me.leases:
        mark = "" if lease.family is Family.IPV4 else "IPV6_"
        networks = ",".join(map(str, place.network.prefixes(lease.family)))
        gateway = f"{bridge_gateway(lease.subnet)}/{lease.subnet.prefixlen}"
        lines += [f"FLANNEL_{mark}NETWORK={networks}", f"FLANNEL_{mark}SUBNET={gateway}"]
    lines.append(f"FLANNEL_MTU={min(place.mtus.values())}")
    lines.append(f"FLANNEL_IPMASQ={'true' if place.network.masquerade else 'false'}")
    return "".join(f"{line}\n" for line in lines)


def parse_subnets(text: str) -> dict[Family, IPNetwork]:
    """Return the node's subnets that *text* names; what is none is passed over."""
    pairs = (line.strip().partition("=") for line in text.splitlines())
    found: dict[Family, IPNetwork] = {}
    for name, _, value in pairs:
        if name in _SUBNETS:
            try:
                subnet = ip_interface(value.strip("\"' ")).network
            except ValueError:
                continue
            found[family_of(subnet)] = subnet
    return found


def wishing_for(claim: Claim, subnets: Mapping[Family, IPNetwork]) -> Claim:
    """Return *claim* with a wish for one of *subnets* in each family."""
    wishes = [replace(wish, subnet=subnets.get(wish.family)) for wish in claim.wishes]
    return replace(claim, wishes=tuple(wishes))


class SubnetFile:
    """Keeps the file as it should be.

    Attributes:
        error: why it is not, for people.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self.error = ""
        self._path = path
        self._log = log
        self._text = ""

    def former_subnets(self) -> dict[Family, IPNetwork]:
        """Return the subnets that a former daemon wrote there."""
        return parse_subnets(self._read())

    def keep(self, place: Place | None = None) -> None:
        """Write the file for *place*, if it says anything else; without one, as it was last."""
        if place is not None:
            self._text = render_subnet_env(place)
        if not self._text or self._read() == self._text:
            return
        try:
            self._write()
        except OSError as error:
            reason = f"{self._path} cannot be written: {error.strerror}"
            if reason != self.error:
                self._log.error("subnet file", reason=reason)
            self.error = reason
            return
        self.error = ""
        self._log.info("subnet file written", path=str(self._path))

    def _read(self) -> str:
        try:
            return self._path.read_text(errors="replace")
        except OSError:
            return ""

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}")
        with draft.open("w") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(self._text)
        draft.replace(self._path)
