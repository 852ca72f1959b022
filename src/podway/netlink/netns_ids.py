"""Numbers by which one network namespace knows others: RTM_GETNSID.

In: a descriptor of a namespace. Out: the number that devices here have in ``link_netnsid``, if
their other end is there; with it as ``target_netnsid`` devices over there can be read without going
there. The kernel gives a namespace a number once a device here is connected to one there.

The message is a struct rtgenmsg (a family, padded) and NETNSA_* attributes.

Sources: include/uapi/linux/net_namespace.h, net/core/net_namespace.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import S32, U32
from podway.netlink.attributes import AttributeSet
from podway.netlink.constants import RTM_GETNSID
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf
    from podway.netlink.socket import NetlinkSocket

    class NetnsIdMessage(TypedDict, total=False):
        """What is known of a namespace.

        Attributes:
            family: 0.
            nsid: its number as of here, -1 (NETNSA_NSID_NOT_ASSIGNED) if it has none.
            pid: of a process in it.
            fd: a descriptor of it.
            target_nsid: number of the namespace as of which is asked.
            current_nsid: the number as of here, when another was asked about.
        """

        family: int
        nsid: int
        pid: int
        fd: int
        target_nsid: int
        current_nsid: int


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    del name_of
    return f"id of network namespace fd {fields.get('fd', '')}"


NETNS_ID: Schema[NetnsIdMessage] = Schema(
    "id of a network namespace",
    "=Bxxx",
    ("family",),
    AttributeSet(
        "NETNSA",
        (
            (1, "nsid", S32),
            (2, "pid", U32),
            (3, "fd", U32),
            (4, "target_nsid", S32),
            (5, "current_nsid", S32),
        ),
    ),
    _describe,
)


def read_netns_id(netlink: NetlinkSocket, fd: int) -> int | None:
    """Return the number of namespace *fd* in that of the socket, None if it has none.

    Raises:
        NetlinkError: *fd* is no network namespace.
    """
    answer = netlink.request(Request("read", NETNS_ID, RTM_GETNSID, 0, {"fd": fd}))
    assert answer is not None  # a read answers or raises
    nsid = answer["nsid"]
    return nsid if nsid >= 0 else None
