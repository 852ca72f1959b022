"""What the stack does per device (forwarding, rp_filter, proxy): RTM_NEWNETCONF, RTM_GETNETCONF.

These are the values of some sysctls, with a notification whenever one changes. A message is a
`NetconfMessage`: the family (struct netconfmsg, one byte, padded) and the NETCONFA_* attributes.
``ifindex`` is NETCONFA_IFINDEX_ALL or NETCONFA_IFINDEX_DEFAULT for conf/all and conf/default.

Sources: include/uapi/linux/netconf.h, net/ipv4/devinet.c (inet_netconf_*), net/ipv6/addrconf.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import S32
from podway.netlink.attributes import AttributeSet
from podway.netlink.constants import NLM_F_DUMP, RTM_GETNETCONF
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class NetconfMessage(TypedDict, total=False):
        """The settings of one device; a notification holds only what changed.

        Attributes:
            family: AF_INET or AF_INET6.
            ifindex: see above.
            forwarding: 1 if packets are forwarded.
            rp_filter: 0 none, 1 strict, 2 loose (RFC 3704; IPv4).
            mc_forwarding: 1 if multicast packets are forwarded.
            proxy_neigh: 1 if proxy_arp, or proxy_ndp, is on.
            ignore_routes_with_linkdown: 1 if routes by a device without carrier count for nothing.
            input: 1 if MPLS packets are taken in.
            bc_forwarding: 1 if directed broadcasts are forwarded (IPv4).
        """

        family: int
        ifindex: int
        forwarding: int
        rp_filter: int
        mc_forwarding: int
        proxy_neigh: int
        ignore_routes_with_linkdown: int
        input: int
        bc_forwarding: int


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    index = fields.get("ifindex", 0)
    return f"netconf dev {name_of(index)}" if index > 0 else "netconf"


NETCONF: Schema[NetconfMessage] = Schema(
    "netconf",
    "=Bxxx",
    ("family",),
    AttributeSet(
        "NETCONFA",
        (
            (1, "ifindex", S32),
            (2, "forwarding", S32),
            (3, "rp_filter", S32),
            (4, "mc_forwarding", S32),
            (5, "proxy_neigh", S32),
            (6, "ignore_routes_with_linkdown", S32),
            (7, "input", S32),
            (8, "bc_forwarding", S32),
        ),
    ),
    _describe,
)


def get_netconf(family: int, ifindex: int) -> Request[NetconfMessage]:
    """Return the request that reads the settings of one device in one family.

    ENODEV without the device.
    """
    fields: NetconfMessage = {"family": family, "ifindex": ifindex}
    return Request("read", NETCONF, RTM_GETNETCONF, 0, fields)


def dump_netconf(family: int) -> Request[NetconfMessage]:
    """Return the request that lists the settings of all devices in one family."""
    return Request("list", NETCONF, RTM_GETNETCONF, NLM_F_DUMP, {"family": family})
