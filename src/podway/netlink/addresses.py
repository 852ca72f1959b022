"""Addresses of devices: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR.

A message is an `AddressMessage`: the fields of struct ifaddrmsg and the IFA_* attributes::

    +---------------+---------------+---------------+---------------+
    |    family     |   prefixlen   |     flags     |     scope     |
    +---------------+---------------+---------------+---------------+
    |                     index of the device                       |
    +---------------------------------------------------------------+

IPv4: ``local`` is the address itself and ``address`` the prefix' (the other end on point-to-point
devices; the same value elsewhere). IPv6: ``address`` is the address, ``local`` is set only when
there is a peer. Flags above 255 travel in IFA_FLAGS, which is the same field here.

Sources: include/uapi/linux/if_addr.h, net/ipv4/devinet.c, net/ipv6/addrconf.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import ADDRESS, S32, TEXT, U8, U32, Record
from podway.netlink.attributes import AttributeSet
from podway.netlink.constants import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_GETADDR,
    RTM_NEWADDR,
)
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class AddressMessage(TypedDict, total=False):
        """One address of one device. Addresses are packed bytes (4 or 16).

        Attributes:
            family: AF_INET or AF_INET6.
            prefixlen: bits.
            flags: IFA_F_*.
            scope: RT_SCOPE_*.
            index: the device.
            address: see above.
            local: see above.
            label: at most 15 bytes, begins with the device's name (IPv4).
            broadcast: of the prefix (IPv4).
            anycast: in a listing of such.
            multicast: likewise.
            cacheinfo: ``prefered`` and ``valid`` in seconds from now on (2^32 - 1: for ever),
                ``cstamp`` and ``tstamp``, made and changed, in 1/100 s since the start.
            rt_priority: metric of the route to the prefix.
            target_netnsid: in a request the namespace that it is about, as a number.
            proto: IFAPROT_*, who wrote it.
        """

        family: int
        prefixlen: int
        flags: int
        scope: int
        index: int
        address: bytes
        local: bytes
        label: str
        broadcast: bytes
        anycast: bytes
        multicast: bytes
        cacheinfo: Mapping[str, int]
        rt_priority: int
        target_netnsid: int
        proto: int


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    from podway.netlink.text import format_prefix  # noqa: PLC0415  # when something failed

    packed = fields.get("local") or fields.get("address")
    words = ["address", format_prefix(packed, fields.get("prefixlen", 0)) if packed else ""]
    if fields.get("index"):
        words.append(f"dev {name_of(fields['index'])}")
    return " ".join(word for word in words if word)


ADDRESS_OF_LINK: Schema[AddressMessage] = Schema(
    "address",
    "=BBBBI",
    ("family", "prefixlen", "flags", "scope", "index"),
    AttributeSet(
        "IFA",
        (
            (1, "address", ADDRESS),
            (2, "local", ADDRESS),
            (3, "label", TEXT),
            (4, "broadcast", ADDRESS),
            (5, "anycast", ADDRESS),
            (6, "cacheinfo", Record("=IIII", ("prefered", "valid", "cstamp", "tstamp"))),
            (7, "multicast", ADDRESS),
            (8, "flags", U32),
            (9, "rt_priority", U32),
            (10, "target_netnsid", S32),
            (11, "proto", U8),
        ),
    ),
    _describe,
)


def create_address(fields: AddressMessage) -> Request[AddressMessage]:
    """Return the request that adds an address; EEXIST if the device has it, ENODEV without one.

    Give ``family``, ``index``, ``prefixlen`` and ``local``.
    """
    return Request("create", ADDRESS_OF_LINK, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, fields)


def replace_address(fields: AddressMessage) -> Request[AddressMessage]:
    """Return the request that adds an address or changes its flags and lifetimes."""
    return Request("replace", ADDRESS_OF_LINK, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, fields)


def delete_address(fields: AddressMessage) -> Request[AddressMessage]:
    """Return the request that takes an address away; EADDRNOTAVAIL if it is not there.

    It is found by ``family``, ``index``, ``local`` and ``prefixlen``.
    """
    return Request("delete", ADDRESS_OF_LINK, RTM_DELADDR, 0, fields)


def dump_addresses(family: int = 0, *, index: int = 0) -> Request[AddressMessage]:
    """Return the request that lists addresses, of one family and one device if given.

    ENODEV if there is no device *index*.
    """
    keep: Callable[[AddressMessage], bool] | None = None
    if index:

        def keep(address: AddressMessage) -> bool:
            return address["index"] == index

    fields: AddressMessage = {"family": family, "index": index}
    return Request("list", ADDRESS_OF_LINK, RTM_GETADDR, NLM_F_DUMP, fields, keep)
