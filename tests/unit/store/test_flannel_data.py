"""Flannel's bytes: what a real flanneld wrote is read, and written again without a difference."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.model.nodes import (
    BackendData,
    ExtensionData,
    Lease,
    Node,
    UdpData,
    VtepData,
    WireguardData,
)
from podway.store.flannel_data import (
    FlannelDataError,
    parse_backend_data,
    parse_lease,
    parse_subnet_key,
    render_backend_data,
    render_lease,
    render_subnet_key,
)

GOLDEN = Path(__file__).parent / "golden"
KEY = "C+2VS84A63qPZPqb4nXLSh/oMZmlEqPmQJhCLfKGEVk="


def node(backend: str, *leases: tuple[str, str, BackendData | None]) -> Node:
    return Node(
        name="n",
        backend=backend,
        leases=tuple(
            Lease(subnet=ip_network(subnet), public_ip=ip_address(address), data=data)
            for subnet, address, data in leases
        ),
    )


def vtep(mac: str) -> VtepData:
    return VtepData(vni=1, mac=mac)


LEASES = [
    pytest.param(
        "vxlan",
        node("vxlan", ("10.5.52.0/24", "192.168.64.3", vtep("c6:d2:32:6f:8f:44"))),
        id="vxlan",
    ),
    pytest.param(
        "vxlan-dual",
        node(
            "vxlan",
            ("10.12.13.0/24", "192.168.64.3", vtep("12:c6:65:89:b4:e3")),
            ("fd00:12:13::/56", "fd00:64::3", vtep("b2:83:0a:2f:61:09")),
        ),
        id="vxlan, dual stack",
    ),
    pytest.param(
        "host-gw", node("host-gw", ("10.5.53.0/24", "192.168.64.4", None)), id="host-gw: no data"
    ),
    pytest.param("ipip", node("ipip", ("10.5.54.0/24", "192.168.64.5", None)), id="ipip: no data"),
    pytest.param(
        "wireguard",
        node(
            "wireguard",
            ("10.5.55.0/24", "192.168.64.6", WireguardData(public_key=KEY, port=51820)),
        ),
        id="wireguard",
    ),
    pytest.param(
        "wireguard-without-port",
        node("wireguard", ("10.5.56.0/24", "192.168.64.7", WireguardData(public_key=KEY))),
        id="wireguard, older flannel: no port",
    ),
    pytest.param(
        "udp", node("udp", ("10.5.57.0/24", "192.168.64.8", None)), id="udp: names no backend"
    ),
    pytest.param(
        "udp-of-podway",
        node("udp", ("10.5.58.0/24", "192.168.64.9", UdpData(formats=("gso",), port=8285))),
        id="udp, with what flannel passes over",
    ),
    pytest.param(
        "extension",
        node(
            "extension",
            ("10.5.59.0/24", "192.168.64.10", ExtensionData(text='a=1 & b < 2\nc "d"')),
        ),
        id="extension: Go's escapes",
    ),
    pytest.param(
        "ipv6-alone",
        node("vxlan", ("fd00:12:13::/64", "fd00:64::3", vtep("b2:83:0a:2f:61:09"))),
        id="IPv6 alone: podway's own",
    ),
]


@pytest.mark.parametrize(("name", "expected"), LEASES)
def test_a_lease_is_read_and_written_byte_for_byte(name: str, expected: Node) -> None:
    key, value = (GOLDEN / f"{name}.lease").read_bytes().splitlines()
    assert parse_lease(key.decode(), value, name="n", unnamed="udp") == expected
    assert render_subnet_key(expected.leases).encode() == key
    assert render_lease(expected) == value


def test_every_golden_file_is_in_the_table() -> None:
    assert {path.stem for path in GOLDEN.glob("*.lease")} == {case.values[0] for case in LEASES}


ANNOTATIONS = [
    pytest.param(
        "vxlan",
        '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}',
        vtep("12:c6:65:89:b4:e3"),
        id="vxlan: compact, MAC last",
    ),
    pytest.param("host-gw", "null", None, id="host-gw: null"),
    pytest.param(
        "wireguard",
        f'{{"PublicKey":"{KEY}","Port":51820}}',
        WireguardData(public_key=KEY, port=51820),
        id="wireguard",
    ),
    pytest.param("extension", '"a"', ExtensionData(text="a"), id="extension"),
    pytest.param("udp", "null", None, id="udp of a flanneld"),
    pytest.param("udp", '{"Formats":[],"Port":1}', UdpData(port=1), id="udp of podway"),
]


@pytest.mark.parametrize(("backend", "text", "data"), ANNOTATIONS)
def test_backend_data_as_an_annotation(backend: str, text: str, data: BackendData | None) -> None:
    assert parse_backend_data(backend, text) == data
    assert render_backend_data(data) == text


def test_a_flanneld_finds_its_mac_again() -> None:
    text = render_backend_data(vtep("12:c6:65:89:b4:e3"))
    head, tail = text.split(':"')
    assert (head, tail) == ('{"VNI":1,"VtepMAC"', '12:c6:65:89:b4:e3"}')


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"publicip":"10.0.0.1","BACKENDTYPE":"host-gw"}', id="any case, as in Go"),
        pytest.param(
            b'{"PublicIP":"10.0.0.1","BackendType":"host-gw","BackendData":null,"New":[1]}',
            id="null data and unknown keys",
        ),
    ],
)
def test_reading_is_as_lenient_as_go(text: bytes) -> None:
    found = parse_lease("10.5.53.0-24", text, name="n")
    assert found == node("host-gw", ("10.5.53.0/24", "10.0.0.1", None))


GOOD = b'{"PublicIP":"10.0.0.1","BackendType":"host-gw"}'


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("", GOOD, id="no key"),
        pytest.param("&", GOOD, id="empty halves"),
        pytest.param("10.5.53.0", GOOD, id="no length"),
        pytest.param("10.5.53.7-24", GOOD, id="host bits"),
        pytest.param("10.5.53.0-33", GOOD, id="length too long"),
        pytest.param("10.5.53.0-24&", GOOD, id="half a pair"),
        pytest.param("10.5.53.0-24fd00::-64", GOOD, id="no separator"),
        pytest.param("10.5.53.0-24/lock", GOOD, id="something below it"),
        pytest.param("10.5.53.0-24", b"", id="no value"),
        pytest.param("10.5.53.0-24", b"{", id="half a JSON"),
        pytest.param("10.5.53.0-24", b"\xff", id="not UTF-8"),
        pytest.param("10.5.53.0-24", b"[]", id="no object"),
        pytest.param("10.5.53.0-24", b"{}", id="no public address"),
        pytest.param("10.5.53.0-24", b'{"PublicIP":"fd00::1"}', id="address of the other family"),
        pytest.param("10.5.53.0-24", b'{"PublicIP":167772161}', id="address as a number"),
        pytest.param(
            "10.5.53.0-24&fd00::-64",
            b'{"PublicIP":"10.0.0.1","PublicIPv6":null}',
            id="dual stack without an IPv6 address",
        ),
        pytest.param(
            "10.5.53.0-24", b'{"PublicIP":"10.0.0.1","BackendType":7}', id="backend as a number"
        ),
        pytest.param(
            "10.5.53.0-24",
            b'{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VNI":1}}',
            id="vxlan without a MAC",
        ),
        pytest.param(
            "10.5.53.0-24",
            b'{"PublicIP":"10.0.0.1","BackendType":"vxlan",'
            b'"BackendData":{"VNI":16777216,"VtepMAC":"12:c6:65:89:b4:e3"}}',
            id="VNI too large",
        ),
        pytest.param("fd00:1::-64", b'{"PublicIPv6":"fd00::1%eth0"}', id="address with a zone"),
        *(
            pytest.param(
                "10.5.53.0-24",
                b'{"PublicIP":"10.0.0.1","BackendType":"vxlan",'
                b'"BackendData":{"VNI":1,"VtepMAC":"%s"}}' % mac,
                id=f"vxlan with a MAC that is {what}",
            )
            for mac, what in (
                (b"00:00:00:00:00:00", "everybody's else in the FDB"),
                (b"ff:ff:ff:ff:ff:ff", "everybody's"),
                (b"01:00:5e:00:00:01", "a group's"),
            )
        ),
        pytest.param(
            "10.5.53.0-24",
            b'{"PublicIP":"10.0.0.1","BackendType":"wireguard","BackendData":[]}',
            id="wireguard data that is no object",
        ),
        pytest.param(
            "10.5.53.0-24",
            b'{"PublicIP":"10.0.0.1","BackendType":"extension","BackendData":{}}',
            id="extension data that is no string",
        ),
        pytest.param("10.5.53.0-24", b"[" * 100_000, id="nested without end"),
    ],
)
def test_what_flannel_cannot_have_written(key: str, value: bytes) -> None:
    with pytest.raises(FlannelDataError):
        parse_lease(key, value, name="n")


@given(key=st.text(max_size=60), value=st.binary(max_size=200))
def test_nothing_else_than_a_node_or_a_refusal(key: str, value: bytes) -> None:
    try:
        found = parse_lease(key, value, name="n")
    except FlannelDataError:
        return
    again = parse_lease(render_subnet_key(found.leases), render_lease(found), name="n")
    assert again.leases == found.leases


@given(
    mac=st.binary(min_size=6, max_size=6).filter(lambda mac: any(mac) and not mac[0] & 1),
    vni=st.integers(0, (1 << 24) - 1),
    subnet=st.integers(0, (1 << 24) - 1),
    address=st.ip_addresses(v=4),
)
def test_every_node_comes_back(mac: bytes, vni: int, subnet: int, address: object) -> None:
    data = VtepData(vni=vni, mac=mac.hex(":"))
    before = node("vxlan", (f"{ip_address(subnet << 8)}/24", str(address), data))
    key, value = render_subnet_key(before.leases), render_lease(before)
    assert parse_lease(key, value, name="n") == before


@given(text=st.text())
def test_every_text_of_an_extension_comes_back(text: str) -> None:
    rendered = render_backend_data(ExtensionData(text=text))
    assert not set(rendered) & set("<>&\u2028\u2029")
    assert parse_backend_data("extension", rendered) == ExtensionData(text=text)


def test_keys_name_ipv4_first() -> None:
    leases = node("x", ("fd00:12:13::/56", "fd00::1", None), ("10.12.13.0/24", "10.0.0.1", None))
    key = render_subnet_key(leases.leases)
    assert key == "10.12.13.0-24&fd00:12:13::-56"
    assert [str(subnet) for subnet in parse_subnet_key(key)] == ["10.12.13.0/24", "fd00:12:13::/56"]
