"""What a node claims: a wish for each family, with what it had and what peers must know."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podway.agent.leases import make_claim
from podway.errors import ConfigError
from podway.model.addresses import Family
from podway.model.networks import parse_network
from podway.model.nodes import Identity, Uplink, VtepData
from unit.agent.values import node

DUAL_STACK = (Family.IPV4, Family.IPV6)
ME = Identity(name="a")
UPLINK = Uplink(
    dev="eth0",
    mtu=1500,
    addresses=tuple(map(ip_interface, ("192.0.2.1/24", "fe80::1/64", "2001:db8::1/64"))),
)
DUAL = """{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/48",
           "Backend": {"Type": "%s", "VNI": 7}}"""


def test_a_claim_has_a_wish_for_each_family_of_the_network() -> None:
    network = parse_network(DUAL % "vxlan")
    claim = make_claim(ME, network, UPLINK, named=(), me=None, ttl_s=60)
    assert (claim.name, claim.backend, claim.ttl_s) == ("a", "vxlan", 60)
    assert [wish.family for wish in claim.wishes] == [Family.IPV4, Family.IPV6]
    assert [str(wish.public_ip) for wish in claim.wishes] == ["192.0.2.1", "2001:db8::1"]
    assert all(isinstance(wish.data, VtepData) and wish.data.vni == 7 for wish in claim.wishes)
    assert [wish.subnet for wish in claim.wishes] == [None, None]


def test_host_gw_publishes_nothing_and_a_named_address_wins() -> None:
    network = parse_network(DUAL % "host-gw")
    named = (ip_address("203.0.113.9"),)
    claim = make_claim(ME, network, UPLINK, named=named, me=None, ttl_s=60)
    assert [str(wish.public_ip) for wish in claim.wishes] == ["203.0.113.9", "2001:db8::1"]
    assert [wish.data for wish in claim.wishes] == [None, None]


def test_a_node_wishes_for_what_it_had() -> None:
    me = node("a", "10.244.7.0/24")
    claim = make_claim(ME, parse_network(DUAL % "host-gw"), UPLINK, named=(), me=me, ttl_s=60)
    assert [wish.subnet for wish in claim.wishes] == [ip_network("10.244.7.0/24"), None]


DRAINS = """{"Network": "10.8.0.0/16", "Networks": [{"Network": "10.244.0.0/16", "Drain": true}],
             "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "host-gw"}}"""


@pytest.mark.parametrize(
    ("network", "subnet", "unused", "leaves"),
    [
        pytest.param(DRAINS, "10.244.7.0/24", DUAL_STACK, [True, False], id="empty and drained"),
        pytest.param(DRAINS, "10.244.7.0/24", (Family.IPV6,), [False, False], id="pods in it"),
        pytest.param(DRAINS, "10.8.7.0/24", DUAL_STACK, [False, False], id="does not drain"),
        pytest.param(DRAINS, None, DUAL_STACK, [False, False], id="no lease yet"),
        pytest.param(
            DUAL % "host-gw", "10.244.7.0/24", DUAL_STACK, [False, False], id="nothing drains"
        ),
    ],
)
def test_a_node_leaves_what_is_drained_when_no_pod_is_there(
    network: str, subnet: str | None, unused: tuple[Family, ...], leaves: list[bool]
) -> None:
    me = None if subnet is None else node("a", subnet)
    parsed = parse_network(network)
    claim = make_claim(ME, parsed, UPLINK, named=(), me=me, ttl_s=60, unused=unused)
    assert [wish.leave for wish in claim.wishes] == leaves
    assert [str(wish.subnet) for wish in claim.wishes] == [str(subnet), "None"]


def test_an_uplink_without_the_network_s_family() -> None:
    uplink = Uplink(dev="eth0", mtu=1500, addresses=UPLINK.addresses[:2])
    with pytest.raises(ConfigError, match="IPv6"):
        make_claim(ME, parse_network(DUAL % "vxlan"), uplink, named=(), me=None, ttl_s=60)
