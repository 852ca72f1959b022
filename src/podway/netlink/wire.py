"""Messages in a buffer: nlmsghdr, acknowledgements and extended acknowledgements.

Comes in: a datagram of a netlink socket, or the payload of one message. Goes out: the messages in
it, or the message's bytes. Nothing here knows what messages mean. A datagram holds one or more
messages, each padded to 4 bytes::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                  nlmsg_len (with this header)                 |
    +-------------------------------+-------------------------------+
    |          nlmsg_type           |          nlmsg_flags          |
    +-------------------------------+-------------------------------+
    |                  nlmsg_seq                                    |
    +---------------------------------------------------------------+
    |                  nlmsg_pid (port id)                          |
    +---------------------------------------------------------------+

NLMSG_ERROR holds a negative errno (0: an acknowledgement), the header of the message it answers
and, under NETLINK_EXT_ACK, attributes with the reason in words and the offset of the attribute at
fault. With NETLINK_CAP_ACK (NLM_F_CAPPED) the rest of the answered message is left out::

    +------------------+---------------------+---------------------------+
    |  error (s32)     | nlmsghdr (16 bytes) | NLMSGERR_ATTR_*           |
    +------------------+---------------------+---------------------------+

NLMSG_DONE, the end of a listing, holds the errno and the attributes without the header between.
Everything is in the machine's byte order.

Sources: include/uapi/linux/netlink.h, net/netlink/af_netlink.c (netlink_ack, netlink_dump_done).
"""

from __future__ import annotations

from _struct import Struct

from podway.netlink.attribute_types import BYTES, TEXT, U32, U64
from podway.netlink.attributes import AttributeSet, Nested
from podway.netlink.constants import NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE
from podway.netlink.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeAlias

    from podway.netlink.messages import Request

    # type, flags, sequence, port id, start of the payload, end of the payload
    Frame: TypeAlias = tuple[int, int, int, int, int, int]

HEADER_SIZE = 16
SEQUENCE_MASK = 0xFFFFFFFF
_NLMSGHDR = Struct("=IHHII")
_S32 = Struct("=i")
_LENGTH = Struct("=I")

_POLICY = AttributeSet(
    "NL_POLICY_TYPE_ATTR",
    ((4, "min_value_u", U64), (5, "max_value_u", U64), (6, "min_length", U32)),
)
_NLMSGERR = AttributeSet(
    "NLMSGERR_ATTR",
    (
        (1, "msg", TEXT),
        (2, "offs", U32),
        (3, "cookie", BYTES),
        (4, "policy", Nested(_POLICY)),
        (5, "miss_type", U32),
        (6, "miss_nest", U32),
    ),
)


class Ack:
    """What the kernel said to one message.

    Attributes:
        errno: 0 for success, else positive.
        reason: its own words, "" without any.
        offset: of the attribute at fault in the message (from its nlmsghdr), 0 for none.
        missing: number of the attribute that was missing, 0 for none.
        missing_in: offset of the nest in which it was missing, 0 for the message itself.
    """

    __slots__ = ("errno", "missing", "missing_in", "offset", "reason")

    def __init__(self, errno: int, details: dict[str, Any]) -> None:
        self.errno = errno
        self.reason: str = details.get("msg", "") + _bounds(details.get("policy", {}))
        self.offset: int = details.get("offs", 0)
        self.missing: int = details.get("miss_type", 0)
        self.missing_in: int = details.get("miss_nest", 0)


def _bounds(policy: dict[str, int]) -> str:
    """Return the range that an integer attribute had to keep, when the kernel says it."""
    if "max_value_u" not in policy:
        return ""
    return f" (allowed: {policy.get('min_value_u', 0)} to {policy['max_value_u']})"


def encode_message(type: int, flags: int, sequence: int, payload: bytes) -> bytes:  # noqa: A002
    """Return one message; *payload* is a multiple of 4 bytes, as `Schema.encode` gives it."""
    return _NLMSGHDR.pack(HEADER_SIZE + len(payload), type, flags, sequence, 0) + payload


def encode_batch(requests: Iterable[Request[Any]], payloads: list[bytes], first: int) -> bytes:
    """Return messages of consecutive sequence numbers, the last of which asks for an answer.

    Args:
        requests: say type and flags of each.
        payloads: what stands behind the nlmsghdr of each.
        first: sequence number of the first one.
    """
    last = len(payloads) - 1
    return b"".join(
        encode_message(
            request.type,
            request.flags | (NLM_F_ACK if n == last else 0),
            first + n & SEQUENCE_MASK,
            payload,
        )
        for n, (request, payload) in enumerate(zip(requests, payloads, strict=True))
    )


def iter_chunks(
    payloads: list[bytes], bytes_max: int, messages_max: int
) -> Iterator[tuple[int, int]]:
    """Yield ``(start, stop)`` of the messages that go out together: as many as the limits allow.

    A message that is larger than *bytes_max* goes alone.
    """
    start = 0
    while start < len(payloads):
        room = bytes_max
        stop = start
        while stop < len(payloads) and stop - start < messages_max:
            room -= HEADER_SIZE + len(payloads[stop])
            if room < 0 and stop > start:
                break
            stop += 1
        yield start, stop
        start = stop


def iter_frames(data: bytes) -> Iterator[Frame]:
    """Yield ``(type, flags, sequence, port_id, start, stop)`` of each message in a datagram.

    Raises:
        DecodeError: a length runs past the end, or bytes are left over.
    """
    position, size = 0, len(data)
    while position < size:
        if size - position < HEADER_SIZE:
            raise DecodeError(f"{size - position} stray bytes after the last message")
        length, kind, flags, sequence, port_id = _NLMSGHDR.unpack_from(data, position)
        if not HEADER_SIZE <= length <= size - position:
            raise DecodeError(f"a message claims {length} of {size - position} bytes")
        yield kind, flags, sequence, port_id, position + HEADER_SIZE, position + length
        position += (length + 3) & ~3


def decode_ack(data: bytes, frame: Frame) -> Ack:
    """Return what an NLMSG_ERROR or NLMSG_DONE says; a DONE without errno is success.

    Raises:
        DecodeError: it is too short, or its attributes are malformed.
    """
    kind, flags, _, _, start, stop = frame
    if stop - start < 4:
        if kind == NLMSG_DONE:
            return Ack(0, {})
        raise DecodeError(f"an acknowledgement of {stop - start} bytes, 4 expected")
    errno = -_S32.unpack_from(data, start)[0]
    if not flags & NLM_F_ACK_TLVS:
        return Ack(errno, {})
    first = start + 4 if kind == NLMSG_DONE else _after_answered(data, start + 4, stop, flags)
    return Ack(errno, _NLMSGERR.decode(data, first, stop))


def _after_answered(data: bytes, start: int, stop: int, flags: int) -> int:
    """Return where the attributes begin: behind the answered message or its header alone."""
    if stop - start < HEADER_SIZE:
        raise DecodeError(f"an acknowledgement without the answered header, {stop - start} bytes")
    length = HEADER_SIZE if flags & NLM_F_CAPPED else _LENGTH.unpack_from(data, start)[0]
    if not HEADER_SIZE <= length <= stop - start:
        raise DecodeError(f"the answered message claims {length} of {stop - start} bytes")
    first: int = start + (length + 3 & ~3)
    return first
