"""Which interface leads to the peers, and which of its addresses they shall use. Pure.

In: what interfaces there are, and what the operator asked for. Out: the uplink, one interface or,
where the two families are on different ones, two; and the node's public addresses.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from podway.errors import ConfigError
from podway.model.addresses import Family, IPAddress, IPInterface, family_of
from podway.model.networks import Network
from podway.model.nodes import Uplink, UplinkChoice


def public_addresses(
    network: Network, uplink: Uplink, wanted: Iterable[IPAddress]
) -> dict[Family, IPAddress]:
    """Return a public address for every family of *network*.

    An address that the operator named wins; otherwise it is the uplink's first one that is neither
    link-local nor loopback.

    Raises:
        ConfigError: the uplink has no address in a family that the network needs.
    """
    named = {family_of(address): address for address in wanted}
    chosen: dict[Family, IPAddress] = {}
    for family in network.families:
        address = named.get(family) or _first_usable(uplink, family)
        if address is None:
            dev = uplink.of(family).dev
            rule = (
                f"the network has {family.label} and {dev} no such address: give it one, "
                "or name another interface (--uplink) or address (--public-ip)"
            )
            raise ConfigError("uplink", uplink.dev, rule)
        chosen[family] = address
    return chosen


def local_address(uplink: Uplink, public_ip: IPAddress) -> IPAddress:
    """Return the address of this node at which packets for *public_ip* arrive.

    That is *public_ip* itself where the uplink has it. Behind a translation of addresses it is the
    uplink's first usable one; where the uplink has none now it is most likely on its way back.
    """
    own = {interface.ip for interface in uplink.of(family_of(public_ip)).addresses}
    if public_ip in own:
        return public_ip
    return _first_usable(uplink, family_of(public_ip)) or public_ip


def choose_uplink(found: Sequence[Uplink], choice: UplinkChoice) -> Uplink | None:
    """Return which of *found* the names and patterns of *choice* mean; None for none of them.

    The first rule that finds an interface counts (flannel's order: names, then patterns for an
    address, then for a name). If that has no address in a family, the first further one that has
    stands beside it. An address that was named, or that a pattern found, comes first.
    """
    matches = list(_matches(found, choice))
    return join_uplinks(matches) if matches else None


def join_uplinks(candidates: Sequence[Uplink]) -> Uplink:
    """Return the first of *candidates*, with the first of the others for a family that it lacks."""
    first = candidates[0]
    ipv4 = next((each for each in candidates if _first_usable(each, Family.IPV4)), first)
    ipv6 = next((each for each in candidates if _first_usable(each, Family.IPV6)), first)
    if _first_usable(first, Family.IPV6):
        ipv6 = first
    if _first_usable(first, Family.IPV4):
        ipv4 = first
    return ipv4 if ipv4.dev == ipv6.dev else replace(ipv4, ipv6_by=ipv6)


def _matches(found: Sequence[Uplink], choice: UplinkChoice) -> Iterator[Uplink]:
    for name in choice.names:
        for uplink in found:
            if uplink.dev == name:
                yield uplink
            elif named := [each for each in uplink.addresses if str(each.ip) == name]:
                yield _preferring(uplink, named[0])
    for text in choice.patterns:
        pattern = re.compile(text)
        for uplink in found:
            if named := [each for each in uplink.addresses if pattern.search(str(each.ip))]:
                yield _preferring(uplink, named[0])
        yield from (uplink for uplink in found if pattern.search(uplink.dev))


def _preferring(uplink: Uplink, address: IPInterface) -> Uplink:
    others = (each for each in uplink.addresses if each != address)
    return replace(uplink, addresses=(address, *others))


def _first_usable(uplink: Uplink, family: Family) -> IPAddress | None:
    return next(
        (
            interface.ip
            for interface in uplink.of(family).addresses
            if family_of(interface.ip) is family
            and not (interface.ip.is_link_local or interface.ip.is_loopback)
        ),
        None,
    )
