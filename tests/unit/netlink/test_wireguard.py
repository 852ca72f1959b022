"""WireGuard's messages: pyroute2 reads what ours says, and a listing in pieces is joined.

No kernel at hand has WireGuard; where there is one, `tests/netns/kernel/test_wireguard.py` uses it.
"""

import sys
from base64 import b64encode
from ipaddress import ip_address
from typing import Any

import pytest
from pyroute2.netlink.generic.wireguard import wgmsg

from podway.kernel.wireguard_endpoints import pack_endpoint
from podway.netlink import EncodeError
from podway.netlink.wireguard import (
    WIREGUARD,
    get_wireguard,
    get_wireguard_family,
    join_wireguard,
    set_wireguard,
)

KEY, PEER = bytes(range(32)), bytes(range(1, 33))


def read_by_pyroute2(payload: bytes) -> Any:
    data = (16 + len(payload)).to_bytes(4, sys.byteorder) + bytes(12) + payload
    message = wgmsg(data)
    message.decode()
    return message


@pytest.mark.parametrize(
    ("endpoint", "port", "prefix", "length", "family"),
    [
        pytest.param("192.0.2.2", 51820, "10.244.2.0", 24, 2, id="IPv4"),
        pytest.param("2001:db8::2", 51821, "fd00:10:244:2::", 64, 10, id="IPv6"),
    ],
)
def test_set_is_read_by_pyroute2(
    endpoint: str, port: int, prefix: str, length: int, family: int
) -> None:
    allowed = {"family": family, "ipaddr": ip_address(prefix).packed, "cidr_mask": length}
    peer = {
        "public_key": PEER,
        "flags": 4,
        "endpoint": pack_endpoint(ip_address(endpoint), port),
        "persistent_keepalive_interval": 25,
        "allowedips": {"allowedip": [allowed, allowed]},
    }
    request = set_wireguard(
        30,
        {
            "ifname": "podway-wg",
            "private_key": KEY,
            "listen_port": 51820,
            "peers": {"peer": [peer, {"public_key": KEY, "flags": 1}]},  # type: ignore[list-item]
        },
    )
    assert request.type == 30
    message = read_by_pyroute2(request.schema.encode(request.fields))
    assert (message["cmd"], message["version"]) == (1, 1)
    assert message.get_attr("WGDEVICE_A_IFNAME") == "podway-wg"
    assert message.get_attr("WGDEVICE_A_PRIVATE_KEY") == b64encode(KEY)
    assert message.get_attr("WGDEVICE_A_LISTEN_PORT") == 51820
    first, second = message.get_attr("WGDEVICE_A_PEERS")
    assert first.get_attr("WGPEER_A_PUBLIC_KEY") == b64encode(PEER)
    assert first.get_attr("WGPEER_A_FLAGS") == 4
    assert first.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") == 25
    told = first.get_attr("WGPEER_A_ENDPOINT")
    assert (told["addr"], told["port"], told["family"]) == (endpoint, port, family)
    assert [each["addr"] for each in first.get_attr("WGPEER_A_ALLOWEDIPS")] == [
        f"{prefix}/{length}"
    ] * 2
    assert second.get_attr("WGPEER_A_FLAGS") == 1


def test_requests() -> None:
    family, listing = get_wireguard_family(), get_wireguard(30, "podway-wg")
    assert family.schema.encode(family.fields) == (
        b"\x03\x01\x00\x00" + b"\x0e\x00\x02\x00wireguard\x00\x00\x00"
    )
    assert listing.schema.encode(listing.fields) == (
        b"\x00\x01\x00\x00" + b"\x0e\x00\x02\x00podway-wg\x00\x00\x00"
    )


def test_a_listing_in_pieces_is_joined() -> None:
    def piece(public: bytes, *numbers: int) -> dict[str, Any]:
        allowed = [{"family": 2, "ipaddr": bytes((10, 0, n, 0)), "cidr_mask": 24} for n in numbers]
        return {"public_key": public, "allowedips": {"allowedip": allowed} if allowed else {}}

    messages: list[dict[str, Any]] = [
        {"ifname": "wg", "listen_port": 7, "peers": {"peer": [piece(KEY, 1), piece(PEER, 2)]}},
        {"ifname": "wg", "peers": {"peer": [piece(PEER, 3), piece(bytes(32))]}},
    ]
    decoded = [
        WIREGUARD.decode(data, 0, len(data))
        for data in (WIREGUARD.encode({"cmd": 0, "version": 1, **each}) for each in messages)
    ]
    assert join_wireguard(decoded) == {
        "cmd": 0,
        "version": 1,
        "ifname": "wg",
        "listen_port": 7,
        "peers": {"peer": [piece(KEY, 1), piece(PEER, 2, 3), piece(bytes(32))]},
    }
    assert join_wireguard([]) == {"peers": {"peer": []}}


def test_a_message_names_its_device_and_no_key() -> None:
    request = set_wireguard(30, {"ifname": "podway-wg", "private_key": KEY})
    assert request.describe(str) == "change WireGuard device podway-wg"
    with pytest.raises(EncodeError):
        WIREGUARD.encode({"private_key": KEY[:31]})
