"""The loopback device's messages, against the tables that know all of them."""

from typing import Any

import pytest

from podway.netlink import change_link
from podway.netlink.addresses import ADDRESS_OF_LINK
from podway.netlink.links import get_link
from podway.netlink.loopback_device import (
    LO_INDEX,
    encode_question,
    encode_state,
    parse_address_of_lo,
    split_messages,
)
from podway.netlink.wire import encode_message


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_state(*, up: bool) -> None:
    request = change_link({"index": LO_INDEX, "flags": int(up), "change": 1})
    assert encode_state(up=up) == request.schema.encode(request.fields)


def test_question() -> None:
    fields = get_link({"index": LO_INDEX}).fields
    header_bytes = 16
    assert encode_question() == get_link({"index": LO_INDEX}).schema.encode(fields)[:header_bytes]


IPV4, IPV6, OTHER = bytes((127, 0, 0, 1)), bytes(15) + b"\x01", bytes((10, 0, 0, 1))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        pytest.param(
            {"index": 1, "prefixlen": 8, "address": IPV4, "local": IPV4, "label": "lo"},
            (IPV4, 8),
            id="IPv4",
        ),
        pytest.param({"index": 1, "prefixlen": 128, "address": IPV6}, (IPV6, 128), id="IPv6"),
        pytest.param(
            {"index": 1, "prefixlen": 32, "address": OTHER, "local": IPV4}, (IPV4, 32), id="peer"
        ),
        pytest.param({"index": 2, "prefixlen": 8, "address": IPV4}, None, id="another device's"),
    ],
)
def test_address(fields: dict[str, Any], found: tuple[bytes, int] | None) -> None:
    family = 2 if len(fields["address"]) == 4 else 10
    payload = ADDRESS_OF_LINK.encode({"family": family, **fields})
    assert parse_address_of_lo(payload) == found


def test_messages_of_a_datagram() -> None:
    data = encode_message(20, 2, 1, b"four") + encode_message(3, 0, 1, b"")
    assert list(split_messages(data)) == [(20, 2, b"four"), (3, 0, b"")]
