"""Which addresses of the uplink peers shall use: the node's public addresses, one per family."""

from collections.abc import Iterable

from podway.errors import ConfigError
from podway.model.addresses import Family, IPAddress, family_of
from podway.model.networks import Network
from podway.model.nodes import Uplink


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
    for pool in network.pools:
        address = named.get(pool.family) or _first_usable(uplink, pool.family)
        if address is None:
            rule = (
                f"the network has {pool.family.label} and {uplink.dev} no such address: give it "
                "one, or name another interface (--uplink) or address (--public-ip)"
            )
            raise ConfigError("uplink", uplink.dev, rule)
        chosen[pool.family] = address
    return chosen


def local_address(uplink: Uplink, public_ip: IPAddress) -> IPAddress:
    """Return the address of this node at which packets for *public_ip* arrive.

    That is *public_ip* itself where the uplink has it. Behind a translation of addresses it is the
    uplink's first usable one; where the uplink has none now it is most likely on its way back.
    """
    own = {interface.ip for interface in uplink.addresses}
    if public_ip in own:
        return public_ip
    return _first_usable(uplink, family_of(public_ip)) or public_ip


def _first_usable(uplink: Uplink, family: Family) -> IPAddress | None:
    return next(
        (
            interface.ip
            for interface in uplink.addresses
            if family_of(interface.ip) is family
            and not (interface.ip.is_link_local or interface.ip.is_loopback)
        ),
        None,
    )
