"""Cluster values as bytes: there and back is the same, and nonsense is an error, not a value."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.model.addresses import Family, IPNetwork
from podway.model.networks import HostGwConfig, Network, Pool, VxlanConfig, parse_network
from podway.model.nodes import Claim, Lease, Node, VtepData, Wish
from podway.store.codec import (
    CodecError,
    claim_from_body,
    claim_to_body,
    decode_network,
    decode_node,
    decode_subnets,
    encode_network,
    encode_node,
    encode_subnets,
)

ADDRESSES4 = st.builds(IPv4Address, st.integers(0, 2**32 - 1))
ADDRESSES6 = st.builds(IPv6Address, st.integers(0, 2**128 - 1))
SUBNETS4 = st.builds(lambda n: IPv4Network((n << 8, 24)), st.integers(0, 2**24 - 1))
SUBNETS6 = st.builds(lambda n: IPv6Network((n << 64, 64)), st.integers(0, 2**64 - 1))
DATA = st.none() | st.builds(VtepData, vni=st.integers(1, 2**24 - 1), mac=st.text(max_size=17))
NAMES = st.text(min_size=1, max_size=60)
LEASES = st.builds(Lease, subnet=SUBNETS4, public_ip=ADDRESSES4, data=DATA) | st.builds(
    Lease, subnet=SUBNETS6, public_ip=ADDRESSES6, data=DATA
)
NODES = st.builds(Node, name=NAMES, backend=NAMES, leases=st.lists(LEASES, max_size=3).map(tuple))
WISHES = st.builds(
    Wish,
    family=st.sampled_from(Family),
    public_ip=ADDRESSES4 | ADDRESSES6,
    data=DATA,
    subnet=st.none() | SUBNETS4 | SUBNETS6,
)
CLAIMS = st.builds(
    Claim,
    name=NAMES,
    backend=NAMES,
    wishes=st.lists(WISHES, max_size=3).map(tuple),
    ttl_s=st.integers(0, 2**31),
)


@given(NODES)
def test_nodes_there_and_back(node: Node) -> None:
    assert decode_node(encode_node(node)) == node
    assert encode_node(decode_node(encode_node(node))) == encode_node(node)


@given(CLAIMS)
def test_claims_there_and_back(claim: Claim) -> None:
    assert claim_from_body(claim_to_body(claim)) == claim


@given(st.lists(SUBNETS4 | SUBNETS6, max_size=4))
def test_subnets_there_and_back(subnets: list[IPv4Network | IPv6Network]) -> None:
    assert decode_subnets(encode_subnets(subnets)) == tuple(subnets)


def pool(prefix: IPv4Network | IPv6Network, subnet_len: int) -> Pool:
    subnets: list[IPNetwork] = [*prefix.subnets(new_prefix=subnet_len)]
    return Pool(prefix=prefix, subnet_len=subnet_len, subnet_min=subnets[1], subnet_max=subnets[-2])


POOLS4 = st.builds(pool, st.just(IPv4Network("10.9.0.0/20")), st.integers(22, 26))
POOLS6 = st.builds(pool, st.just(IPv6Network("fd00:9::/56")), st.integers(58, 64))
POOLS = st.one_of(st.tuples(POOLS4), st.tuples(POOLS6), st.tuples(POOLS4, POOLS6))
VXLANS = st.builds(
    VxlanConfig,
    vni=st.integers(1, 2**24 - 1),
    port=st.integers(1, 65535),
    mtu=st.just(0) | st.integers(576, 65535),
    gbp=st.booleans(),
    learning=st.booleans(),
    direct_routing=st.booleans(),
)
NETWORKS = st.builds(
    Network,
    pools=POOLS,
    backend=VXLANS | st.just(HostGwConfig()),
    attach=st.sampled_from(["bridge", "routed"]),
    masquerade=st.booleans(),
    non_masquerade=st.lists(SUBNETS4 | SUBNETS6, max_size=3).map(tuple),
)


@given(NETWORKS)
def test_networks_there_and_back(network: Network) -> None:
    assert decode_network(encode_network(network)) == network
    assert parse_network(encode_network(network)) == network


NODE = Node(
    name="a",
    backend="vxlan",
    leases=(
        Lease(
            subnet=IPv4Network("10.9.1.0/24"),
            public_ip=IPv4Address("192.0.2.1"),
            data=VtepData(vni=1, mac="02:00:00:00:00:01"),
        ),
    ),
)


def changed(**fields: object) -> bytes:
    document = msgspec.msgpack.decode(encode_node(NODE))
    document["leases"][0] |= fields
    return msgspec.msgpack.encode(document)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff" * 40, id="noise"),
        pytest.param(encode_node(NODE)[:-3], id="torn"),
        pytest.param(msgspec.msgpack.encode({"name": "a"}), id="half"),
        pytest.param(changed(subnet="10.9.1.1/24"), id="host bits"),
        pytest.param(changed(subnet="10.9.1.0/33"), id="prefix too long"),
        pytest.param(changed(subnet="fd00::/64"), id="families differ"),
        pytest.param(changed(public_ip="everywhere"), id="no address"),
        pytest.param(changed(data={"type": "carrier-pigeon"}), id="backend that we do not know"),
    ],
)
def test_bytes_that_are_no_node(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_node(data)


def test_keys_of_a_newer_version_are_passed_over() -> None:
    document = msgspec.msgpack.decode(changed(flavour="mint"))
    assert decode_node(msgspec.msgpack.encode(document | {"zone": "b"})) == NODE


def test_a_network_that_breaks_a_rule_is_a_store_error() -> None:
    with pytest.raises(CodecError, match="SubnetLen"):
        decode_network('{"Network": "10.9.0.0/16", "SubnetLen": 12}')
