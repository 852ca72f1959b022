"""net-conf.json with arbitrary content gives a consistent Network or a ConfigError, never less."""

import json
from itertools import combinations
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from podway.compute.gateways import bridge_gateway, pod_range
from podway.errors import ConfigError
from podway.model.addresses import Family, family_of, prefix_contains
from podway.model.networks import HostGwConfig, Network, Pool, VxlanConfig, parse_network
from podway.store.codec import encode_network

TOP_KEYS = [
    *("Network", "SubnetLen", "SubnetMin", "SubnetMax", "EnableIPv4", "EnableIPv6"),
    *("IPv6Network", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax"),
    *("Attach", "Masquerade", "NonMasqueradeCIDRs", "Backend", "Networks"),
]
BACKEND_KEYS = ["Type", "VNI", "Port", "MTU", "GBP", "Learning", "DirectRouting"]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)


def recased(key: str) -> st.SearchStrategy[str]:
    return st.sampled_from([key, key.lower(), key.upper()])


@st.composite
def prefixes(draw: st.DrawFn, family: Family) -> str:
    """A prefix of *family*, mostly without host bits."""
    length = draw(st.integers(0, family.bits))
    strategy = st.ip_addresses(v=4) if family is Family.IPV4 else st.ip_addresses(v=6)
    address = draw(strategy)
    if draw(st.integers(0, 9)):
        host_bits = family.bits - length
        address = type(address)(int(address) >> host_bits << host_bits)
    return f"{address}/{length}"


def further() -> st.SearchStrategy[Any]:
    """One of ``Networks``: a prefix, an object with one, or nonsense."""
    prefix = prefixes(Family.IPV4) | prefixes(Family.IPV6)
    entry = st.fixed_dictionaries(
        {"Network": prefix},
        optional={"SubnetLen": st.integers(-1, 129), "Drain": st.booleans() | anything},
    )
    return prefix | entry | anything


def documents() -> st.SearchStrategy[Any]:
    """Objects with known keys and mostly fitting values, so that many of them get far."""
    lengths = st.none() | st.integers(-1, 129)
    backend = st.fixed_dictionaries(
        {"Type": st.sampled_from(["vxlan", "host-gw", "VxLAN", "udp"]) | anything},
        optional={
            "VNI": st.integers(-1, 1 << 25) | anything,
            "Port": st.integers(-1, 65537) | anything,
            "MTU": st.integers(-1, 65537) | anything,
            "GBP": st.booleans() | anything,
            "Learning": st.booleans() | anything,
            "DirectRouting": st.booleans() | anything,
        },
    )
    return st.fixed_dictionaries(
        {"Network": prefixes(Family.IPV4), "IPv6Network": prefixes(Family.IPV6)},
        optional={
            "EnableIPv4": st.booleans(),
            "EnableIPv6": st.booleans(),
            "SubnetLen": lengths,
            "IPv6SubnetLen": lengths,
            "SubnetMin": st.ip_addresses(v=4).map(str) | anything,
            "SubnetMax": st.ip_addresses(v=4).map(str) | anything,
            "IPv6SubnetMin": st.ip_addresses(v=6).map(str) | anything,
            "IPv6SubnetMax": st.ip_addresses(v=6).map(str) | anything,
            "Attach": st.sampled_from(["bridge", "routed"]) | anything,
            "Masquerade": st.booleans() | anything,
            "Networks": st.lists(further(), max_size=3) | anything,
            "NonMasqueradeCIDRs": st.lists(prefixes(Family.IPV4) | prefixes(Family.IPV6)),
            "Backend": backend | anything,
        },
    )


def wild_documents() -> st.SearchStrategy[Any]:
    """Objects with known keys in any case and any values."""
    keys = st.sampled_from([*TOP_KEYS, *BACKEND_KEYS]).flatmap(recased)
    return st.dictionaries(keys, anything | st.dictionaries(keys, anything, max_size=4), max_size=8)


def parsed_or_refused(text: bytes | str) -> Network | None:
    try:
        return parse_network(text)
    except ConfigError as error:
        refused = error
    assert refused.field
    assert refused.rule
    assert str(refused).startswith(refused.field)
    return None


@given(documents() | wild_documents() | anything)
def test_any_json_gives_a_consistent_network_or_a_config_error(document: Any) -> None:
    network = parsed_or_refused(json.dumps(document))
    if network is not None:
        check(network)


@given(st.binary(max_size=60) | st.text(max_size=60))
@example('{"Network": "10.0.0.0/8", "Backend": {"Type": "vxlan", "VNI": 18446744073709551616}}')
def test_any_text_gives_a_consistent_network_or_a_config_error(text: bytes | str) -> None:
    network = parsed_or_refused(text)
    if network is not None:
        check(network)


@st.composite
def ipv4_networks(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """A network, a SubnetLen that fits it, and the document that says so."""
    length = draw(st.integers(0, 28))
    number = draw(st.integers(0, (1 << length) - 1)) << (32 - length)
    subnet_len = draw(st.integers(length + 2, 30))
    text = ".".join(str(byte) for byte in number.to_bytes(4))
    return subnet_len, {"Network": f"{text}/{length}", "SubnetLen": subnet_len}


@given(ipv4_networks())
def test_every_network_that_keeps_flannels_rules_is_accepted(
    case: tuple[int, dict[str, Any]],
) -> None:
    subnet_len, document = case
    network = parse_network(json.dumps(document))
    pool = network.pools[0]
    assert (str(pool.prefix), pool.subnet_len) == (document["Network"], subnet_len)
    subnets = 1 << (subnet_len - pool.prefix.prefixlen)
    assert subnet_number(pool, int(pool.subnet_min.network_address)) == 1
    assert subnet_number(pool, int(pool.subnet_max.network_address)) == subnets - 1
    check(network)


def subnet_number(pool: Pool, address: int) -> int:
    size = 1 << (pool.family.bits - pool.subnet_len)
    number, rest = divmod(address - int(pool.prefix.network_address), size)
    assert rest == 0
    return number


def same_family(network: Network) -> list[tuple[Any, Any]]:
    pairs = combinations(network.pools, 2)
    return [(one, other) for one, other in pairs if one.family is other.family]


def check(network: Network) -> None:
    families = [pool.family for pool in network.pools]
    assert families == sorted(families)
    assert network.families in ((Family.IPV4,), (Family.IPV6,), (Family.IPV4, Family.IPV6))
    assert not any(network.pools_of(family)[0].drain for family in network.families)
    assert not any(one.prefix.overlaps(other.prefix) for one, other in same_family(network))
    assert parse_network(encode_network(network)) == network
    for pool in network.pools:
        check_pool(pool)
    assert network.attach in ("bridge", "routed")
    assert isinstance(network.masquerade, bool)
    assert all(str(prefix).count("/") == 1 for prefix in network.non_masquerade)
    match network.backend:
        case VxlanConfig(vni=vni, port=port, mtu=mtu):
            assert 1 <= vni < 1 << 24
            assert 1 <= port <= 65535
            assert mtu == 0 or 576 <= mtu <= 65535
        case HostGwConfig():
            assert network.backend_name == "host-gw"
        case _:
            pass


def check_pool(pool: Pool) -> None:
    longest = 30 if pool.family is Family.IPV4 else 126
    assert pool.prefix.prefixlen + 2 <= pool.subnet_len <= longest
    for subnet in (pool.subnet_min, pool.subnet_max):
        assert subnet.prefixlen == pool.subnet_len
        assert family_of(subnet) is pool.family
        assert prefix_contains(pool.prefix, subnet)
        subnet_number(pool, int(subnet.network_address))
        # A bridge, a VTEP and at least one pod have room, each with an address of its own.
        first, last = pod_range(subnet)
        assert int(subnet.network_address) < int(bridge_gateway(subnet)) < first <= last
    assert int(pool.subnet_min.network_address) <= int(pool.subnet_max.network_address)
