"""Is an address on the node's own link? Decided from the uplink's addresses alone."""

from podway.model.addresses import IPAddress, family_of
from podway.model.nodes import Uplink


def is_on_link(uplink: Uplink, address: IPAddress) -> bool:
    """Tell whether *address* lies in a prefix of one of the uplink's own addresses."""
    return any(
        address.version == own.version and address in own.network
        for own in uplink.of(family_of(address)).addresses
    )
