"""Addresses on devices: from the model's values to RTM_NEWADDR fields and back. Pure.

All are written with IFA_F_NODAD: podway gives each address once, and detection would hold a pod's
first packet back for a second or two (RFC 4862, section 5.4).
"""

from ipaddress import ip_address

from podway.model.addresses import interface_in
from podway.model.kernel import Address
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    IFA_F_NODAD,
    RT_SCOPE_HOST,
    RT_SCOPE_UNIVERSE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.model.addresses import IPInterface
    from podway.netlink.addresses import AddressMessage


def address_fields(interface: "IPInterface", index: int, scope: str = "global") -> "AddressMessage":
    """Return the fields of *interface* on the device with *index*."""
    packed = interface.packed
    ipv6 = interface.version == 6
    return {
        "family": AF_INET6 if ipv6 else AF_INET,
        "index": index,
        "prefixlen": interface.network.prefixlen,
        "scope": RT_SCOPE_HOST if scope == "host" else RT_SCOPE_UNIVERSE,
        "local": packed,
        "address": packed,
        "flags": IFA_F_NODAD if ipv6 else 0,
    }


def parse_address(message: "AddressMessage", dev: str) -> Address | None:
    """Return the address that *message* describes, on *dev*; None for one without an address."""
    packed = message.get("local") or message.get("address")
    if packed is None:
        return None
    # IPv6 has ::1 in scope host, by its value.
    ours = message["family"] == AF_INET and message.get("scope") == RT_SCOPE_HOST
    interface = interface_in(ip_address(packed), message["prefixlen"])
    return Address(dev, interface, "host" if ours else "global")
