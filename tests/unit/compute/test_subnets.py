"""Which subnet a node gets, and what it is told when it gets none."""

import json
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import pytest

from podway.compute.holdings import Holdings
from podway.compute.subnets import Rule, SubnetRefused, check_reservation, compute_leases
from podway.model.addresses import Family
from podway.model.networks import Network, parse_network
from podway.model.nodes import BackendData, Claim, Lease, Node, VtepData, Wish

HOST_GW = {"Backend": {"Type": "host-gw"}}
FOUR = {"Network": "10.9.0.0/22", "SubnetLen": 24} | HOST_GW  # .1, .2 and .3 may be leased
DUAL = {
    "Network": "10.9.0.0/16",
    "EnableIPv6": True,
    "IPv6Network": "fd00:9::/62",
    "IPv6SubnetLen": 64,
} | HOST_GW
VXLAN = {"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}
MAC = "02:00:00:00:00:01"


def network(document: dict[str, Any]) -> Network:
    return parse_network(json.dumps(document))


def wish(address: str, subnet: str | None = None, data: BackendData | None = None) -> Wish:
    ip = ip_address(address)
    return Wish(
        family=Family.IPV4 if ip.version == 4 else Family.IPV6,
        public_ip=ip,
        data=data,
        subnet=None if subnet is None else ip_network(subnet),
    )


def claim(name: str, *wishes: Wish, backend: str = "host-gw", ttl_s: int = 60) -> Claim:
    return Claim(name=name, backend=backend, wishes=wishes, ttl_s=ttl_s)


def give(holdings: Holdings, net: Network, asked: Claim) -> list[str]:
    leases = compute_leases(net, asked, holdings)
    holdings.set_node(asked.name, Node(name=asked.name, backend=asked.backend, leases=leases))
    return [str(lease.subnet) for lease in leases]


def held(**nodes: str) -> Holdings:
    """Return the holdings of nodes with one subnet each; addresses count from 192.0.2.1."""
    holdings = Holdings()
    for number, (name, subnet) in enumerate(nodes.items(), 1):
        address = ip_address(f"192.0.2.{number}")
        lease = Lease(subnet=ip_network(subnet), public_ip=address)
        holdings.set_node(name, Node(name=name, backend="host-gw", leases=(lease,)))
    return holdings


@pytest.mark.parametrize(
    ("holdings", "asked", "given"),
    [
        pytest.param(held(), claim("n", wish("192.0.2.9")), "10.9.1.0/24", id="first of an empty"),
        pytest.param(
            held(a="10.9.1.0/24"), claim("n", wish("192.0.2.9")), "10.9.2.0/24", id="next"
        ),
        pytest.param(
            held(b="10.9.3.0/24"), claim("n", wish("192.0.2.9")), "10.9.1.0/24", id="round"
        ),
        pytest.param(
            held(b="10.9.1.0/24", a="10.9.3.0/24"),
            claim("n", wish("192.0.2.9")),
            "10.9.2.0/24",
            id="round, over a taken one",
        ),
        pytest.param(
            held(n="10.9.2.0/24"), claim("n", wish("192.0.2.9")), "10.9.2.0/24", id="keeps its own"
        ),
        pytest.param(
            held(n="10.9.2.0/24"),
            claim("n", wish("192.0.2.9", "10.9.3.0/24")),
            "10.9.2.0/24",
            id="own before wished",
        ),
        pytest.param(
            held(a="10.9.1.0/24"),
            claim("n", wish("192.0.2.9", "10.9.3.0/24")),
            "10.9.3.0/24",
            id="wished",
        ),
        pytest.param(
            held(a="10.9.2.0/24"),
            claim("n", wish("192.0.2.9", "10.9.2.0/24")),
            "10.9.3.0/24",
            id="wished but taken",
        ),
        pytest.param(
            held(),
            claim("n", wish("192.0.2.9", "10.9.0.0/24")),
            "10.9.1.0/24",
            id="wished below SubnetMin",
        ),
        pytest.param(
            held(),
            claim("n", wish("192.0.2.9", "10.9.2.0/25")),
            "10.9.1.0/24",
            id="wished with another length",
        ),
        pytest.param(
            held(n="10.8.2.0/24"), claim("n", wish("192.0.2.9")), "10.9.1.0/24", id="own is outside"
        ),
        pytest.param(
            held(a="10.9.1.128/25"), claim("n", wish("192.0.2.9")), "10.9.2.0/24", id="half taken"
        ),
        pytest.param(
            held(a="10.9.0.0/23"), claim("n", wish("192.0.2.9")), "10.9.2.0/24", id="wider one"
        ),
    ],
)
def test_choice(holdings: Holdings, asked: Claim, given: str) -> None:
    assert give(holdings, network(FOUR), asked) == [given]


def test_a_subnet_given_back_is_the_last_to_be_given_again() -> None:
    net, holdings = network(FOUR), Holdings()
    for number, name in enumerate("ab", 1):
        give(holdings, net, claim(name, wish(f"192.0.2.{number}")))
    holdings.set_node("a", None)
    assert give(holdings, net, claim("c", wish("192.0.2.3"))) == ["10.9.3.0/24"]
    assert give(holdings, net, claim("d", wish("192.0.2.4"))) == ["10.9.1.0/24"]


def test_dual_stack_is_all_or_none() -> None:
    net, holdings = network(DUAL), Holdings()
    for number in (1, 2, 3):
        subnets = give(
            holdings,
            net,
            claim(f"n{number}", wish(f"192.0.2.{number}"), wish(f"2001:db8::{number}")),
        )
        assert subnets == [f"10.9.{number}.0/24", f"fd00:9:0:{number}::/64"]
    with pytest.raises(SubnetRefused) as caught:
        give(holdings, net, claim("n4", wish("192.0.2.4"), wish("2001:db8::4")))
    assert caught.value.rule is Rule.EXHAUSTED
    assert "n4" not in holdings.nodes
    assert holdings.owner_of(ip_address("192.0.2.4")) is None


def test_a_reservation_goes_to_its_node_and_to_nobody_else() -> None:
    net, holdings = network(FOUR), Holdings()
    reserved = (IPv4Network("10.9.1.0/24"),)
    check_reservation(net, "late", reserved, holdings)
    holdings.set_reservation("late", reserved)
    wished = claim("early", wish("192.0.2.1", "10.9.1.0/24"))
    assert give(holdings, net, wished) == ["10.9.2.0/24"]
    assert give(holdings, net, claim("late", wish("192.0.2.2"))) == ["10.9.1.0/24"]
    holdings.set_node("late", None)
    assert give(holdings, net, claim("x", wish("192.0.2.3"))) == ["10.9.3.0/24"]
    with pytest.raises(SubnetRefused):
        give(holdings, net, claim("y", wish("192.0.2.4")))
    holdings.set_reservation("late", ())
    assert give(holdings, net, claim("y", wish("192.0.2.4"))) == ["10.9.1.0/24"]


@pytest.mark.parametrize(
    ("document", "asked", "rule"),
    [
        pytest.param(FOUR, claim("", wish("192.0.2.9")), Rule.NAME, id="no name"),
        pytest.param(FOUR, claim("a/b", wish("192.0.2.9")), Rule.NAME, id="slash in name"),
        pytest.param(FOUR, claim("-a", wish("192.0.2.9")), Rule.NAME, id="name begins with dash"),
        pytest.param(FOUR, claim("n" * 254, wish("192.0.2.9")), Rule.NAME, id="long name"),
        pytest.param(FOUR, claim("n", wish("192.0.2.9"), ttl_s=-1), Rule.TTL, id="negative ttl"),
        pytest.param(FOUR, claim("n", wish("192.0.2.9"), ttl_s=1 << 40), Rule.TTL, id="huge ttl"),
        pytest.param(
            FOUR, claim("n", wish("192.0.2.9"), backend="vxlan"), Rule.BACKEND, id="backend"
        ),
        pytest.param(FOUR, claim("n"), Rule.FAMILIES, id="no family"),
        pytest.param(FOUR, claim("n", wish("2001:db8::1")), Rule.FAMILIES, id="other family"),
        pytest.param(
            FOUR,
            claim("n", wish("192.0.2.9"), wish("2001:db8::1")),
            Rule.FAMILIES,
            id="one family too many",
        ),
        pytest.param(DUAL, claim("n", wish("192.0.2.9")), Rule.FAMILIES, id="one family too few"),
        pytest.param(
            FOUR,
            claim("n", wish("192.0.2.9"), wish("192.0.2.10")),
            Rule.FAMILIES,
            id="one family twice",
        ),
        pytest.param(
            FOUR,
            claim("n", Wish(family=Family.IPV4, public_ip=ip_address("2001:db8::1"))),
            Rule.FAMILIES,
            id="address of the other family",
        ),
        pytest.param(FOUR, claim("n", wish("127.0.0.1")), Rule.ADDRESS, id="loopback"),
        pytest.param(FOUR, claim("n", wish("0.0.0.0")), Rule.ADDRESS, id="unspecified"),
        pytest.param(FOUR, claim("n", wish("224.0.0.1")), Rule.ADDRESS, id="multicast"),
        pytest.param(FOUR, claim("n", wish("10.9.1.1")), Rule.ADDRESS, id="inside the network"),
        pytest.param(
            FOUR, claim("n", wish("192.0.2.1")), Rule.ADDRESS_IN_USE, id="another node's address"
        ),
        pytest.param(
            VXLAN,
            claim("n", wish("192.0.2.9"), backend="vxlan"),
            Rule.BACKEND,
            id="no tunnel end point",
        ),
        pytest.param(
            VXLAN,
            claim("n", wish("192.0.2.9", data=VtepData(vni=8, mac=MAC)), backend="vxlan"),
            Rule.BACKEND,
            id="other VNI",
        ),
        pytest.param(
            VXLAN,
            claim(
                "n", wish("192.0.2.9", data=VtepData(vni=7, mac="02:00:00:00:01")), backend="vxlan"
            ),
            Rule.BACKEND,
            id="short MAC",
        ),
        pytest.param(
            VXLAN,
            claim(
                "n",
                wish("192.0.2.9", data=VtepData(vni=7, mac="03:00:00:00:00:01")),
                backend="vxlan",
            ),
            Rule.BACKEND,
            id="group MAC",
        ),
    ],
)
def test_refused(document: dict[str, Any], asked: Claim, rule: Rule) -> None:
    holdings = held(other="10.9.1.0/24")
    with pytest.raises(SubnetRefused) as caught:
        compute_leases(network(document), asked, holdings)
    assert caught.value.rule is rule


def test_a_refusal_names_the_other_party_and_the_numbers() -> None:
    holdings = held(alpha="10.9.1.0/24", beta="10.9.2.0/24")
    holdings.set_reservation("gamma", (IPv4Network("10.9.3.0/24"),))
    with pytest.raises(SubnetRefused, match=r"192\.0\.2\.1 is node alpha's"):
        compute_leases(network(FOUR), claim("n", wish("192.0.2.1")), holdings)
    with pytest.raises(SubnetRefused, match="2 leased and 1 reserved of the 3 /24 subnets"):
        compute_leases(network(FOUR), claim("n", wish("192.0.2.9")), holdings)


@pytest.mark.parametrize(
    ("subnets", "rule"),
    [
        pytest.param(["10.9.1.0/24"], Rule.OVERLAP, id="another node's lease"),
        pytest.param(["10.9.2.0/24"], Rule.OVERLAP, id="another node's reservation"),
        pytest.param(["10.9.3.0/25"], Rule.FIT, id="wrong length"),
        pytest.param(["10.9.0.0/24"], Rule.FIT, id="below SubnetMin"),
        pytest.param(["fd00::/64"], Rule.FIT, id="family that the network has not"),
        pytest.param(["10.9.3.0/24", "10.9.4.0/24"], Rule.FAMILIES, id="two of one family"),
    ],
)
def test_reservation_refused(subnets: list[str], rule: Rule) -> None:
    holdings = held(a="10.9.1.0/24")
    holdings.set_reservation("b", (IPv4Network("10.9.2.0/24"),))
    with pytest.raises(SubnetRefused) as caught:
        check_reservation(network(FOUR), "n", tuple(map(ip_network, subnets)), holdings)
    assert caught.value.rule is rule


def test_a_reservation_that_fits_no_more_stops_the_claim() -> None:
    holdings = Holdings()
    holdings.set_reservation("n", (IPv4Network("10.8.1.0/24"), IPv6Network("fd00::/64")))
    with pytest.raises(SubnetRefused) as caught:
        compute_leases(network(FOUR), claim("n", wish("192.0.2.9")), holdings)
    assert caught.value.rule is Rule.FIT


def test_ten_thousand_nodes_fill_a_pool() -> None:
    """The search is no scan of all leases for each candidate: this would take minutes."""
    net = network({"Network": "10.0.0.0/8", "SubnetLen": 22} | HOST_GW)
    holdings = Holdings()
    count = (1 << 14) - 1
    for number in range(count):
        address = f"172.16.{number >> 8}.{number & 255}"
        give(holdings, net, claim(f"n{number}", wish(address)))
    with pytest.raises(SubnetRefused, match=f"{count} leased"):
        give(holdings, net, claim("late", wish("192.0.2.1")))
    holdings.set_node("n77", None)
    assert give(holdings, net, claim("late", wish("192.0.2.1"))) == ["10.1.56.0/22"]
