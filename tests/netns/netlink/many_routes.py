"""Routes by the thousand: those that the kernel takes, and those that it refuses."""

from typing import Any

from podway.netlink import pack_address
from podway.netlink.constants import AF_INET, RTN_BLACKHOLE

OURS = 112


def blackhole(number: int) -> Any:
    """Return the *number*-th of many /32 routes."""
    dst = (0x0B000000 + number).to_bytes(4, "big")
    return {
        "family": AF_INET,
        "dst": dst,
        "dst_len": 32,
        "type": RTN_BLACKHOLE,
        "protocol": OURS,
    }


def unreachable_hop(number: int) -> Any:
    """Return a route that the kernel refuses: its next hop is on no device."""
    fields = blackhole(number)
    del fields["type"]
    return fields | {"gateway": pack_address("203.0.113.1")}
