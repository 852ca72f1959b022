"""Results: the text of every version, what is read back, and conversions both ways."""

import json
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.addresses import canonical_cidr
from podway.cni.errors import DECODING_FAILURE, INTERNAL, CniError
from podway.cni.results import (
    Dns,
    Interface,
    Ip,
    Result,
    Route,
    parse_result,
    render_result,
    result_document,
)
from podway.cni.values import replace
from podway.cni.versions import ALL

RICH = Result(
    interfaces=(
        Interface(name="cni0", mac="02:00:00:00:00:01", mtu=1450),
        Interface(name="eth0", mac="02:00:00:00:00:02", sandbox="/run/netns/pod", pci_id="0:0:1.0"),
        Interface(name="vu0", socket_path="/run/vu.sock"),
    ),
    ips=(
        Ip(address="10.244.1.5/24", gateway="10.244.1.1", interface=1),
        Ip(address="10.244.1.6/24", interface=0),
        Ip(address="fd00::5/64", gateway="fd00::1", interface=1),
    ),
    routes=(
        Route(dst="0.0.0.0/0", gw="10.244.1.1"),
        Route(dst="10.0.0.0/8", mtu=1400, advmss=1360, priority=5, table=100, scope=253),
        Route(dst="::/0", gw="fd00::1", table=0, scope=0),
    ),
    dns=Dns(nameservers=("10.96.0.10",), domain="d", search=("a", "b"), options=("ndots:5",)),
)
BARE = Result(ips=(Ip(address="10.0.0.5/32"),))

RICH_020 = (
    '"ip4":{"ip":"10.244.1.5/24","gateway":"10.244.1.1",'
    '"routes":[{"dst":"0.0.0.0/0","gw":"10.244.1.1"},{"dst":"10.0.0.0/8"}]},'
    '"ip6":{"ip":"fd00::5/64","gateway":"fd00::1","routes":[{"dst":"::/0","gw":"fd00::1"}]},'
)
RICH_ROUTES = (
    '"routes":[{"dst":"0.0.0.0/0","gw":"10.244.1.1"},'
    '{"dst":"10.0.0.0/8","mtu":1400,"advmss":1360,"priority":5,"table":100,"scope":253},'
    '{"dst":"::/0","gw":"fd00::1","table":0,"scope":0}],'
)
RICH_040 = (
    '"interfaces":[{"name":"cni0","mac":"02:00:00:00:00:01"},'
    '{"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/run/netns/pod"},{"name":"vu0"}],'
    '"ips":[{"version":"4","interface":1,"address":"10.244.1.5/24","gateway":"10.244.1.1"},'
    '{"version":"4","interface":0,"address":"10.244.1.6/24"},'
    '{"version":"6","interface":1,"address":"fd00::5/64","gateway":"fd00::1"}],'
) + RICH_ROUTES
RICH_110 = (
    '"interfaces":[{"name":"cni0","mac":"02:00:00:00:00:01","mtu":1450},'
    '{"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/run/netns/pod","pciID":"0:0:1.0"},'
    '{"name":"vu0","socketPath":"/run/vu.sock"}],'
    '"ips":[{"interface":1,"address":"10.244.1.5/24","gateway":"10.244.1.1"},'
    '{"interface":0,"address":"10.244.1.6/24"},'
    '{"interface":1,"address":"fd00::5/64","gateway":"fd00::1"}],'
) + RICH_ROUTES
RICH_DNS = (
    '"dns":{"nameservers":["10.96.0.10"],"domain":"d","search":["a","b"],"options":["ndots:5"]}}'
)
BARE_040 = '"ips":[{"version":"4","address":"10.0.0.5/32"}],"dns":{}}'


@pytest.mark.parametrize(
    ("result", "version", "text"),
    [
        pytest.param(RICH, "0.1.0", RICH_020 + RICH_DNS, id="0.1.0"),
        pytest.param(RICH, "0.2.0", RICH_020 + RICH_DNS, id="0.2.0"),
        pytest.param(RICH, "0.3.0", RICH_040 + RICH_DNS, id="0.3.0"),
        pytest.param(RICH, "0.3.1", RICH_040 + RICH_DNS, id="0.3.1"),
        pytest.param(RICH, "0.4.0", RICH_040 + RICH_DNS, id="0.4.0"),
        pytest.param(RICH, "1.0.0", RICH_110 + RICH_DNS, id="1.0.0"),
        pytest.param(RICH, "1.1.0", RICH_110 + RICH_DNS, id="1.1.0"),
        pytest.param(BARE, "0.1.0", '"ip4":{"ip":"10.0.0.5/32"},"dns":{}}', id="bare 0.1.0"),
        pytest.param(BARE, "0.2.0", '"ip4":{"ip":"10.0.0.5/32"},"dns":{}}', id="bare 0.2.0"),
        pytest.param(BARE, "0.3.0", BARE_040, id="bare 0.3.0"),
        pytest.param(BARE, "0.3.1", BARE_040, id="bare 0.3.1"),
        pytest.param(BARE, "0.4.0", BARE_040, id="bare 0.4.0"),
        pytest.param(BARE, "1.0.0", '"ips":[{"address":"10.0.0.5/32"}]}', id="bare 1.0.0"),
        pytest.param(BARE, "1.1.0", '"ips":[{"address":"10.0.0.5/32"}]}', id="bare 1.1.0"),
    ],
)
def test_text_of_every_version(result: Result, version: str, text: str) -> None:
    assert render_result(result, version) == f'{{"cniVersion":"{version}",{text}'


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0", "1.0.0", "1.1.0"])
def test_a_result_without_addresses(version: str) -> None:
    text = render_result(Result(interfaces=(Interface(name="lo"),)), version)
    assert parse_result(json.loads(text)) == Result(interfaces=(Interface(name="lo"),))


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_old_versions_cannot_say_that(version: str) -> None:
    with pytest.raises(CniError) as caught:
        render_result(Result(interfaces=(Interface(name="lo"),)), version)
    assert caught.value.code == INTERNAL


@pytest.mark.parametrize(
    ("document", "result"),
    [
        pytest.param(
            {"cniVersion": "1.0.0", "interfaces": None, "ips": None, "routes": None, "dns": None},
            Result(),
            id="null everywhere",
        ),
        pytest.param(
            {"CNIVERSION": "0.4.0", "IPs": [{"Address": "10.0.0.1/8", "Gateway": ""}]},
            Result(ips=(Ip(address="10.0.0.1/8"),)),
            id="keys without case, empty gateway",
        ),
        pytest.param(
            {"ips": [{"version": "6", "address": "FD00:0::1/64"}], "extra": 1},
            Result(ips=(Ip(address="fd00::1/64"),)),
            id="version inherited, address canonical",
        ),
        pytest.param(
            {"cniVersion": "0.2.0", "ip6": {"ip": "fd00::1/64", "routes": [{"dst": "::/0"}]}},
            Result(ips=(Ip(address="fd00::1/64"),), routes=(Route(dst="::/0"),)),
            id="0.2.0 with IPv6 alone",
        ),
        pytest.param({"cniVersion": "0.1.0", "ip4": None}, Result(), id="0.1.0 with nothing"),
    ],
)
def test_parse_result(document: dict[str, object], result: Result) -> None:
    assert parse_result(document, "1.0.0") == result


@pytest.mark.parametrize(
    ("document", "path"),
    [
        pytest.param({"cniVersion": "1.2.0"}, "cniVersion", id="unknown version"),
        pytest.param({"cniVersion": 1}, "cniVersion", id="version's type"),
        pytest.param({"ips": {}}, "ips", id="ips' type"),
        pytest.param({"ips": ["10.0.0.1/8"]}, "ips[0]", id="ip's type"),
        pytest.param({"ips": [{}]}, "ips[0].address", id="no address"),
        pytest.param({"ips": [{"address": "10.0.0.1"}]}, "ips[0].address", id="no prefix length"),
        pytest.param(
            {"ips": [{"address": "10.0.0.1/8", "gateway": "x"}]}, "ips[0].gateway", id="gateway"
        ),
        pytest.param(
            {"ips": [{"address": "10.0.0.1/8", "interface": "0"}]},
            "ips[0].interface",
            id="interface's type",
        ),
        pytest.param(
            {"ips": [{"address": "10.0.0.1/8", "interface": -1}]},
            "ips[0].interface",
            id="negative interface",
        ),
        pytest.param({"routes": [{"dst": "x"}]}, "routes[0].dst", id="dst"),
        pytest.param({"routes": [{"dst": "::/0", "gw": 1}]}, "routes[0].gw", id="gw's type"),
        pytest.param({"routes": [{"dst": "::/0", "mtu": "1"}]}, "routes[0].mtu", id="mtu's type"),
        pytest.param({"interfaces": [{"name": 1}]}, "interfaces[0].name", id="name's type"),
        pytest.param({"interfaces": [{"mtu": 1.5}]}, "interfaces[0].mtu", id="interface's mtu"),
        pytest.param({"dns": []}, "dns", id="dns' type"),
        pytest.param({"dns": {"search": "a"}}, "dns.search", id="search's type"),
        pytest.param({"cniVersion": "0.2.0", "ip4": []}, "ip4", id="ip4's type"),
        pytest.param({"cniVersion": "0.2.0", "ip4": {"ip": "x"}}, "ip4.ip", id="ip4's ip"),
        pytest.param(
            {"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.1/8", "routes": [{"dst": ""}]}},
            "ip4.routes[0].dst",
            id="ip4's routes",
        ),
    ],
)
def test_parse_result_refuses(document: dict[str, object], path: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_result({"cniVersion": "1.1.0", **document})
    assert caught.value.code == DECODING_FAILURE
    assert caught.value.msg.startswith(f"{path} = ")


words = st.text(st.characters(codec="utf-8"), max_size=6)
cidrs = st.builds(
    lambda address, bits: canonical_cidr(f"{address}/{bits % (address.max_prefixlen + 1)}"),
    st.ip_addresses(),
    st.integers(0, 128),
)
gateways = st.just("") | cidrs.map(lambda text: text.partition("/")[0])
sizes = st.integers(0, 65535)
numbers = st.none() | st.integers(0, 2**32 - 1)
interfaces = st.builds(
    Interface,
    name=words,
    mac=words,
    mtu=sizes,
    sandbox=words,
    socket_path=words,
    pci_id=words,
)
ips = st.builds(Ip, address=cidrs, gateway=gateways, interface=st.none() | st.integers(0, 5))
routes = st.builds(
    Route,
    dst=cidrs,
    gw=gateways,
    mtu=sizes,
    advmss=sizes,
    priority=sizes,
    table=numbers,
    scope=st.none() | st.integers(0, 255),
)
dns = st.builds(
    Dns,
    nameservers=st.lists(words, max_size=2).map(tuple),
    domain=words,
    search=st.lists(words, max_size=2).map(tuple),
    options=st.lists(words, max_size=2).map(tuple),
)
results = st.builds(
    Result,
    interfaces=st.lists(interfaces, max_size=3).map(tuple),
    ips=st.lists(ips, max_size=4).map(tuple),
    routes=st.lists(routes, max_size=4).map(tuple),
    dns=dns,
)


def as_of(result: Result, version: str) -> Result:
    """Return what is left of *result* after a stay in *version*: libcni's rules, said again."""
    position = ALL.index(version)
    if position >= ALL.index("1.0.0"):
        return result
    if position >= ALL.index("0.3.0"):
        kept = [Interface(name=i.name, mac=i.mac, sandbox=i.sandbox) for i in result.interfaces]
        return replace(result, interfaces=tuple(kept))
    by_family = {
        family: [ip for ip in result.ips if ip_interface(ip.address).version == family]
        for family in (4, 6)
    }
    firsts = [ips[0] for ips in by_family.values() if ips]
    kept_routes = [
        Route(dst=route.dst, gw=route.gw)
        for family, ips in by_family.items()
        for route in result.routes
        if ips and ip_interface(route.dst).version == family
    ]
    return Result(
        ips=tuple(replace(ip, interface=None) for ip in firsts),
        routes=tuple(kept_routes),
        dns=result.dns,
    )


@given(results, st.sampled_from(ALL))
def test_conversions_lose_what_they_must_and_nothing_else(result: Result, version: str) -> None:
    if ALL.index(version) < ALL.index("0.3.0") and not result.ips:
        with pytest.raises(CniError):
            render_result(result, version)
        return
    text = render_result(result, version)
    back = parse_result(json.loads(text))
    assert back == as_of(result, version)
    assert render_result(back, version) == text


@given(results.filter(lambda result: result.ips), st.sampled_from(ALL), st.sampled_from(ALL))
def test_the_poorest_version_on_the_way_decides(result: Result, first: str, last: str) -> None:
    once = parse_result(json.loads(render_result(result, first)))
    twice = parse_result(json.loads(render_result(once, last)))
    poorest = min(first, last, key=ALL.index)
    assert twice == as_of(result, poorest)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("10.0.0.1/8"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "address", "dst", "ip", "routes", "gw", "mtu", "search"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["cniVersion", "interfaces", "ips", "routes", "dns", "ip4", "ip6"]),
        json_values,
        max_size=4,
    ),
    st.sampled_from(ALL),
)
def test_fuzz(document: dict[str, object], version: str) -> None:
    """Whatever a plugin says, the outcome is a result or a CniError."""
    try:
        result = parse_result(document, version)
    except CniError:
        return
    assert parse_result(result_document(result, "1.1.0")) == result
