"""Messages in a buffer, byte by byte, and what must be refused."""

import errno
from struct import pack

import pytest

from podway.netlink.constants import (
    NLM_F_ACK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSG_DONE,
    NLMSG_ERROR,
)
from podway.netlink.errors import DecodeError
from podway.netlink.links import delete_link
from podway.netlink.wire import decode_ack, encode_batch, encode_message, iter_chunks, iter_frames

# The answer of Linux 6.18 to a VXLAN device with an impossible VNI: NLMSG_ERROR, flags CAPPED and
# ACK_TLVS, ERANGE, the header of the request, reason (attribute 1) and offset 60 (attribute 2).
REASON = b"VXLAN ID must be lower than 16777216\0"
ERANGE_ANSWER = (
    pack("=IHHII", 88, 2, 0x300, 7, 0x1234)
    + pack("=i", -34)
    + pack("=IHHII", 76, 16, 0x605, 7, 0)
    + pack("=HH", 4 + len(REASON), 1)
    + REASON
    + b"\0" * 3
    + pack("=HHI", 8, 2, 60)
)


def test_a_message_is_its_header_and_its_payload() -> None:
    assert encode_message(18, 0x305, 9, b"\x07" * 4) == bytes.fromhex(
        "14000000 1200 0503 09000000 00000000 07070707"
    )


def test_the_last_message_of_a_batch_asks_for_an_answer() -> None:
    requests = [delete_link({"index": index}) for index in (1, 2, 3)]
    data = encode_batch(requests, [b"", b"\0" * 4, b""], 0xFFFFFFFE)
    flags = requests[0].flags
    assert [frame[:3] for frame in iter_frames(data)] == [
        (17, flags, 0xFFFFFFFE),
        (17, flags, 0xFFFFFFFF),
        (17, flags | NLM_F_ACK, 0),
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([4], [(0, 1)], id="one"),
        pytest.param([14, 14], [(0, 2)], id="as many bytes as may be"),
        pytest.param([14, 15], [(0, 1), (1, 2)], id="one byte more"),
        pytest.param([0] * 5, [(0, 3), (3, 5)], id="as many messages as may be"),
        pytest.param([0, 99, 0], [(0, 1), (1, 2), (2, 3)], id="a large one goes alone"),
    ],
)
def test_messages_that_go_out_together(sizes: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(iter_chunks([bytes(size) for size in sizes], 60, 3)) == expected


def test_a_datagram_is_cut_into_its_messages() -> None:
    data = encode_message(16, 2, 5, b"") + encode_message(3, 2, 5, b"\0\0\0\0")
    assert list(iter_frames(data)) == [(16, 2, 5, 0, 16, 16), (3, 2, 5, 0, 32, 36)]


def test_a_length_that_is_no_multiple_of_four_is_padded() -> None:
    first = pack("=IHHII", 17, 16, 0, 1, 0) + b"x" + b"\0" * 3
    frames = list(iter_frames(first + encode_message(17, 0, 2, b"")))
    assert [(frame[0], frame[5] - frame[4]) for frame in frames] == [(16, 1), (17, 0)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0", id="one byte"),
        pytest.param(bytes(15), id="less than a header"),
        pytest.param(bytes(16), id="length 0"),
        pytest.param(pack("=IHHII", 15, 16, 0, 0, 0), id="length below the header's"),
        pytest.param(pack("=IHHII", 17, 16, 0, 0, 0), id="length past the end"),
        pytest.param(pack("=IHHII", 0xFFFFFFFF, 16, 0, 0, 0), id="length of 4 GiB"),
        pytest.param(encode_message(16, 0, 0, b"") + b"\0\0\0\0", id="stray bytes at the end"),
    ],
)
def test_a_datagram_of_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        list(iter_frames(data))


def test_an_extended_acknowledgement_says_reason_and_offset() -> None:
    (frame,) = iter_frames(ERANGE_ANSWER)
    ack = decode_ack(ERANGE_ANSWER, frame)
    assert (ack.errno, ack.reason, ack.offset, ack.missing) == (
        errno.ERANGE,
        "VXLAN ID must be lower than 16777216",
        60,
        0,
    )


def test_an_uncapped_answer_holds_the_whole_request_before_the_reason() -> None:
    request = encode_message(24, 5, 7, b"\x02" + bytes(11))
    payload = pack("=i", -22) + request + pack("=HH", 8, 1) + b"bad\0"
    data = encode_message(NLMSG_ERROR, NLM_F_ACK_TLVS, 7, payload)
    (frame,) = iter_frames(data)
    ack = decode_ack(data, frame)
    assert (ack.errno, ack.reason) == (errno.EINVAL, "bad")


def test_the_range_of_a_policy_is_part_of_the_reason() -> None:
    policy = pack("=HHQ", 12, 4, 68) + pack("=HHQ", 12, 5, 65535)
    tlvs = pack("=HH", 8, 1) + b"no!\0" + pack("=HH", 4 + len(policy), 4 | 0x8000) + policy
    payload = pack("=i", -34) + bytes(16) + tlvs
    data = encode_message(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, 7, payload)
    (frame,) = iter_frames(data)
    assert decode_ack(data, frame).reason == "no! (allowed: 68 to 65535)"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(pack("=i", 0), 0, id="success"),
        pytest.param(pack("=i", -2), errno.ENOENT, id="a listing that failed midway"),
    ],
)
def test_the_end_of_a_listing_carries_an_errno(payload: bytes, expected: int) -> None:
    data = encode_message(NLMSG_DONE, 2, 7, payload)
    (frame,) = iter_frames(data)
    assert decode_ack(data, frame).errno == expected


def test_the_end_of_a_listing_has_its_reason_right_after_the_errno() -> None:
    payload = pack("=i", -2) + pack("=HH", 12, 1) + b"no FIB!\0"
    data = encode_message(NLMSG_DONE, 2 | NLM_F_ACK_TLVS, 7, payload)
    (frame,) = iter_frames(data)
    ack = decode_ack(data, frame)
    assert (ack.errno, ack.reason) == (errno.ENOENT, "no FIB!")


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        pytest.param(0, b"\0\0", id="shorter than an errno"),
        pytest.param(NLM_F_ACK_TLVS | NLM_F_CAPPED, bytes(8), id="no header of the request"),
        pytest.param(NLM_F_ACK_TLVS, bytes(4) + pack("=IHHII", 99, 0, 0, 0, 0), id="past the end"),
        pytest.param(NLM_F_ACK_TLVS, bytes(24), id="request of length 0"),
        pytest.param(
            NLM_F_ACK_TLVS | NLM_F_CAPPED, bytes(20) + b"\xff\xff\1\0", id="overlong reason"
        ),
    ],
)
def test_a_malformed_acknowledgement_is_refused(flags: int, payload: bytes) -> None:
    data = encode_message(NLMSG_ERROR, flags, 7, payload)
    (frame,) = iter_frames(data)
    with pytest.raises(DecodeError):
        decode_ack(data, frame)
