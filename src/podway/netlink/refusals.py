"""Why the kernel refused, in words: what was attempted, and which field is at fault.

Comes in: requests and the acknowledgements that say no. Goes out: a `NetlinkError` for each. Called
by the sockets when something failed, and loaded only then. Why it is hard: the kernel points into
the bytes that it was sent, with an offset; the way back to a name (``linkinfo.data.port``) goes
through the tables that made those bytes, nest by nest. Devices stand in requests as numbers, and
whoever reads an error knows their names.

Sources: Documentation/userspace-api/netlink/intro.rst (extended ACK), include/uapi/linux/netlink.h
(NLMSGERR_ATTR_OFFS, NLMSGERR_ATTR_MISS_TYPE, NLMSGERR_ATTR_MISS_NEST).
"""

from __future__ import annotations

from podway.netlink.attributes import NLATTR
from podway.netlink.constants import NETLINK_ROUTE
from podway.netlink.errors import NetlinkError
from podway.netlink.wire import HEADER_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podway.netlink.attributes import AttributeSet
    from podway.netlink.messages import Request
    from podway.netlink.socket import NetlinkSocket
    from podway.netlink.wire import Ack


def explain(
    netlink: NetlinkSocket, failures: Iterable[tuple[Request[Any], Ack]]
) -> list[NetlinkError]:
    """Return the errors for *failures*, in their order.

    Args:
        netlink: the socket on which they failed; it is asked for the names of devices.
        failures: each request with the kernel's answer to it.
    """
    names: dict[int, str] = {}

    def name_of(index: int) -> str:
        if index not in names:
            names[index] = _read_name(netlink, index)
        return names[index]

    return [
        NetlinkError(
            ack.errno,
            request.describe(name_of),
            ack.reason,
            field_at_fault(request, ack),
            is_missing=bool(ack.missing),
        )
        for request, ack in failures
    ]


def _read_name(netlink: NetlinkSocket, index: int) -> str:
    """Return the name of device *index*, or ``#5`` when it has none where the socket is."""
    if netlink.protocol != NETLINK_ROUTE:
        return f"#{index}"
    from podway.netlink.links import get_link  # noqa: PLC0415  # only if there is a device to name

    try:
        links, _ = netlink.exchange(get_link({"index": index}))
    except NetlinkError:  # the error that this is a word of matters more
        links = []
    return links[0]["ifname"] if links else f"#{index}"


def field_at_fault(request: Request[Any], ack: Ack) -> str:
    """Return the dotted name of the field that *ack* points at, "" for none."""
    payload = request.schema.encode(request.fields)
    attributes = request.schema.attributes
    start = request.schema.header_size
    if not ack.missing:
        return locate(attributes, payload, start, len(payload), ack.offset - HEADER_SIZE)
    nest = _find(attributes, payload, start, len(payload), ack.missing_in - HEADER_SIZE)
    if nest is None:
        return attributes.name(ack.missing)
    path, inner = nest
    return f"{path}.{inner.name(ack.missing) if inner else ack.missing}"


def locate(attributes: AttributeSet, data: bytes, start: int, stop: int, offset: int) -> str:
    """Return the dotted name of the attribute that stands at *offset* of *data*, "" for none.

    Args:
        attributes: the table of what stands in *data*.
        data: bytes that the table has encoded itself.
        start: where its attributes begin.
        stop: where they end.
        offset: as the kernel gives it in NLMSGERR_ATTR_OFFS, counted from the start of *data*.
    """
    found = _find(attributes, data, start, stop, offset)
    return found[0] if found else ""


def _find(
    attributes: AttributeSet, data: bytes, start: int, stop: int, offset: int
) -> tuple[str, AttributeSet | None] | None:
    """Return the dotted name at *offset* and the set of the nest there; see `locate`."""
    siblings = attributes.decode(data, start, stop)
    while start < stop:
        length, number = NLATTR.unpack_from(data, start)
        if start <= offset < start + length:
            break
        start += (length + 3) & ~3
    else:
        return None
    nest = attributes.nest(number, siblings)
    if nest is None:
        return attributes.name(number), None
    inner_set, skip = nest
    inner = _find(inner_set, data, start + 4 + skip, start + length, offset)
    if inner is None:
        return attributes.name(number), inner_set
    return f"{attributes.name(number)}.{inner[0]}", inner[1]
