"""Addresses on devices: from the model's values to RTM_NEWADDR fields and back. Pure.

All are written with IFA_F_NODAD: podway gives each address once, and detection would hold a pod's
first packet back for a second or two (RFC 4862, section 5.4).
"""

from ipaddress import ip_address

from podway.model.addresses import interface_in
from podway.model.kernel import Address
from podway.netlink.constants import AF_INET, AF_INET6, IFA_F_NODAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.model.addresses import IPInterface
    from podway.netlink.addresses import AddressMessage


def address_fields(interface: "IPInterface", index: int) -> "AddressMessage":
    """Return the fields of *interface* on the device with *index*."""
    packed = interface.packed
    ipv6 = interface.version == 6
    return {
        "family": AF_INET6 if ipv6 else AF_INET,
        "index": index,
        "prefixlen": interface.network.prefixlen,
        "local": packed,
        "address": packed,
        "flags": IFA_F_NODAD if ipv6 else 0,
    }


def parse_address(message: "AddressMessage", dev: str) -> Address | None:
    """Return the address that *message* describes, on *dev*; None for one without an address."""
    packed = message.get("local") or message.get("address")
    if packed is None:
        return None
    return Address(dev, interface_in(ip_address(packed), message["prefixlen"]))
