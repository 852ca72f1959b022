"""Addresses as text; `ipaddress` is the witness."""

from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.addresses import (
    canonical_address,
    canonical_cidr,
    canonical_mac,
    is_ipv4,
    parse_address,
    render_address,
)


@given(st.ip_addresses())
def test_addresses(address: object) -> None:
    packed = parse_address(str(address))
    assert packed == ip_address(str(address)).packed
    assert ip_address(render_address(packed)) == address
    assert is_ipv4(canonical_address(str(address))) is (len(packed) == 4)


@given(st.ip_addresses(v=6))
def test_all_spellings_have_one_canonical_form(address: object) -> None:
    exploded = ip_address(str(address)).exploded.upper()
    assert canonical_address(exploded) == canonical_address(str(address))


@given(st.ip_addresses(), st.integers(0, 128))
def test_cidrs(address: object, bits: int) -> None:
    most = len(parse_address(str(address))) * 8
    text = f"{address}/{bits % (most + 1)}"
    assert ip_interface(canonical_cidr(text)) == ip_interface(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("10.0.0", id="three bytes"),
        pytest.param("10.0.0.256", id="byte of 256"),
        pytest.param("010.0.0.1", id="leading zero"),
        pytest.param("10.0.0.1 ", id="blank"),
        pytest.param("10.0.0.1\0", id="zero byte"),
        pytest.param("fe80::1%eth0", id="zone"),
        pytest.param("1::2::3", id="two gaps"),
        pytest.param("host", id="name"),
        pytest.param("\ud800", id="half of a surrogate pair"),
        pytest.param("0x0a000001", id="hexadecimal"),
        pytest.param("10.1", id="BSD short form"),
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        canonical_address(text)
    with pytest.raises(ValueError, match=r"^must "):
        canonical_cidr(f"{text}/24")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("10.0.0.1", id="no prefix length"),
        pytest.param("10.0.0.1/", id="empty prefix length"),
        pytest.param("10.0.0.1/33", id="33 bits"),
        pytest.param("10.0.0.1/-1", id="negative"),
        pytest.param("10.0.0.1/+8", id="signed"),
        pytest.param("10.0.0.1/8/8", id="two"),
        pytest.param("10.0.0.1/255.0.0.0", id="netmask"),
        pytest.param("10.0.0.1/\u0668", id="digit beyond ASCII"),
        pytest.param("fd00::1/129", id="129 bits"),
        pytest.param("fd00::1/0000000000064", id="endless zeros"),
        pytest.param("/24", id="no address"),
    ],
)
def test_bad_cidrs(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        canonical_cidr(text)


def test_macs() -> None:
    assert canonical_mac("0A:58:0a:F4:00:05") == "0a:58:0a:f4:00:05"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("0a:58:0a:f4:00", id="five bytes"),
        pytest.param("0a:58:0a:f4:00:05:06", id="seven bytes"),
        pytest.param("0a-58-0a-f4-00-05", id="hyphens"),
        pytest.param("0g:58:0a:f4:00:05", id="no digit"),
        pytest.param("0a:58:0a:f4:00:5", id="one digit"),
        pytest.param("0a58.0af4.0005", id="dots"),
        pytest.param("\uff10a:58:0a:f4:00:05", id="digit beyond ASCII"),
        pytest.param("+a:58:0a:f4:00:05", id="signed"),
    ],
)
def test_bad_macs(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        canonical_mac(text)
