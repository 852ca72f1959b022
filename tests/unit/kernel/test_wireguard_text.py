"""WireGuard's text protocol and endpoints, word for word and byte for byte."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.kernel.wireguard_endpoints import pack_endpoint, unpack_endpoint
from podway.kernel.wireguard_text import parse_errno, parse_get, render_set
from podway.netlink.constants import (
    WGPEER_F_REMOVE_ME,
    WGPEER_F_REPLACE_ALLOWEDIPS,
    WGPEER_F_UPDATE_ONLY,
)

KEY, PEER = bytes(range(32)), bytes(range(1, 33))
PSK = bytes(range(2, 34))

SET = f"""set=1
private_key={KEY.hex()}
listen_port=51820
public_key={PEER.hex()}
remove=true
public_key={PEER.hex()}
update_only=true
replace_allowed_ips=true
preshared_key={PSK.hex()}
endpoint=[2001:db8::1]:51821
persistent_keepalive_interval=25
allowed_ip=10.244.2.0/24
allowed_ip=fd00:10:244:2::/64

"""
ENDPOINT = pack_endpoint(ip_address("2001:db8::1"), 51821)
ALLOWED = {
    "allowedip": [
        {"family": 2, "ipaddr": ip_address("10.244.2.0").packed, "cidr_mask": 24},
        {"family": 10, "ipaddr": ip_address("fd00:10:244:2::").packed, "cidr_mask": 64},
    ]
}


def test_set_is_what_the_protocol_says() -> None:
    peer = {
        "public_key": PEER,
        "flags": WGPEER_F_UPDATE_ONLY | WGPEER_F_REPLACE_ALLOWEDIPS,
        "preshared_key": PSK,
        "endpoint": ENDPOINT,
        "persistent_keepalive_interval": 25,
        "allowedips": ALLOWED,
    }
    peers = [{"public_key": PEER, "flags": WGPEER_F_REMOVE_ME}, peer]
    fields = {"private_key": KEY, "listen_port": 51820, "peers": {"peer": peers}}
    assert render_set(fields).decode() == SET


def test_get_is_read() -> None:
    text = f"""private_key={KEY.hex()}
listen_port=51820
public_key={PEER.hex()}
preshared_key={PSK.hex()}
protocol_version=1
endpoint=[2001:db8::1]:51821
last_handshake_time_sec=17
last_handshake_time_nsec=5
tx_bytes=1
rx_bytes=2
persistent_keepalive_interval=25
allowed_ip=10.244.2.0/24
allowed_ip=fd00:10:244:2::/64
public_key={KEY.hex()}
of_a_newer_version=x
errno=0

"""
    first = {
        "public_key": PEER,
        "preshared_key": PSK,
        "endpoint": ENDPOINT,
        "last_handshake_time": {"sec": 17},
        "persistent_keepalive_interval": 25,
        "allowedips": ALLOWED,
    }
    second = {"public_key": KEY, "allowedips": {"allowedip": []}}
    assert parse_get(text.encode()) == {
        "private_key": KEY,
        "listen_port": 51820,
        "peers": {"peer": [first, second]},
    }


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        pytest.param(b"errno=0\n\n", 0, id="success"),
        pytest.param(b"errno=-22\n\n", 22, id="a Go number"),
        pytest.param(b"listen_port=1\nerrno=98\n\n", 98, id="behind other lines"),
    ],
)
def test_errno(answer: bytes, number: int) -> None:
    assert parse_errno(answer) == number


@pytest.mark.parametrize("answer", [b"", b"\n\n", b"listen_port=1\n", b"errno=x\n\n"])
def test_an_answer_without_errno_is_none(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_errno(answer)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_endpoints_go_there_and_back(address: Any, port: int) -> None:
    packed = pack_endpoint(address, port)
    assert len(packed) == (16 if address.version == 4 else 28)
    assert unpack_endpoint(packed) == (address, port)
