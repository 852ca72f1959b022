"""Which subnet a node gets from a network of several prefixes, and how one of them is emptied."""

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from podway.compute.holdings import Holdings
from podway.compute.subnets import (
    Rule,
    SubnetRefused,
    check_reservation,
    compute_leases,
    count_use,
    describe_misfits,
)
from podway.model.addresses import Family
from podway.model.networks import Network, parse_network
from podway.model.nodes import Claim, Lease, Node, Wish


def network(*further: Any, first: str = "10.9.0.0/22") -> Network:
    """Return a network whose prefixes have room for three nodes each."""
    document = {"Network": first, "Networks": list(further), "Backend": {"Type": "host-gw"}}
    return parse_network(json.dumps(document))


def drained(prefix: str) -> dict[str, Any]:
    return {"Network": prefix, "Drain": True}


def held(**nodes: str) -> Holdings:
    """Return the holdings of nodes with one subnet each; addresses count from 192.0.2.1."""
    holdings = Holdings()
    for number, (name, subnet) in enumerate(nodes.items(), 1):
        lease = Lease(subnet=ip_network(subnet), public_ip=ip_address(f"192.0.2.{number}"))
        holdings.set_node(name, Node(name=name, backend="host-gw", leases=(lease,)))
    return holdings


def claim(name: str, subnet: str | None = None, *, leave: bool = False) -> Claim:
    wanted = None if subnet is None else ip_network(subnet)
    address = ip_address("192.0.2.99") if name == "n" else ip_address("192.0.2.1")
    wish = Wish(family=Family.IPV4, public_ip=address, subnet=wanted, leave=leave)
    return Claim(name=name, backend="host-gw", wishes=(wish,), ttl_s=60)


FULL = {"a": "10.9.1.0/24", "b": "10.9.2.0/24", "c": "10.9.3.0/24"}
TWO = network("10.8.0.0/22")
OLD = network(drained("10.9.0.0/22"), first="10.8.0.0/22")


@pytest.mark.parametrize(
    ("net", "holdings", "asked", "given"),
    [
        pytest.param(TWO, held(), claim("n"), "10.9.1.0/24", id="the first prefix first"),
        pytest.param(TWO, held(**FULL), claim("n"), "10.8.1.0/24", id="then the second"),
        pytest.param(
            TWO,
            held(a="10.9.1.0/24", c="10.9.3.0/24", x="10.8.1.0/24"),
            claim("n"),
            "10.9.2.0/24",
            id="room in the first counts though the second was used last",
        ),
        pytest.param(
            TWO, held(a="10.8.3.0/24"), claim("a"), "10.8.3.0/24", id="a node keeps what it has"
        ),
        pytest.param(
            TWO, held(), claim("n", "10.8.2.0/24"), "10.8.2.0/24", id="a wish in the second"
        ),
        pytest.param(OLD, held(), claim("n"), "10.8.1.0/24", id="nothing new where it drains"),
        pytest.param(
            OLD, held(**FULL), claim("a"), "10.9.1.0/24", id="who has a lease there keeps it"
        ),
        pytest.param(
            OLD,
            held(),
            claim("n", "10.9.2.0/24"),
            "10.9.2.0/24",
            id="who lost one may have it back",
        ),
        pytest.param(
            OLD,
            held(b="10.9.2.0/24"),
            claim("n", "10.9.2.0/24"),
            "10.8.1.0/24",
            id="but not somebody else's",
        ),
        pytest.param(
            OLD,
            held(a="10.9.1.0/24"),
            claim("a", "10.9.1.0/24", leave=True),
            "10.8.1.0/24",
            id="who has no use for it moves",
        ),
        pytest.param(
            OLD,
            held(a="10.8.2.0/24"),
            claim("a", "10.9.1.0/24", leave=True),
            "10.8.2.0/24",
            id="and moves once",
        ),
        pytest.param(
            OLD,
            held(a="10.9.1.0/24", b="10.8.1.0/24", c="10.8.2.0/24", d="10.8.3.0/24"),
            claim("a", "10.9.1.0/24", leave=True),
            "10.9.1.0/24",
            id="or stays while there is no room elsewhere",
        ),
        pytest.param(
            TWO,
            held(a="10.9.1.0/24"),
            claim("a", "10.9.1.0/24", leave=True),
            "10.9.1.0/24",
            id="nobody leaves what does not drain",
        ),
    ],
)
def test_choice(net: Network, holdings: Holdings, asked: Claim, given: str) -> None:
    (lease,) = compute_leases(net, asked, holdings)
    assert str(lease.subnet) == given


def test_a_reservation_where_it_drains_is_kept() -> None:
    holdings = held(a="10.9.1.0/24")
    check_reservation(OLD, "a", (ip_network("10.9.1.0/24"),), holdings)
    holdings.set_reservation("a", (ip_network("10.9.1.0/24"),))
    (lease,) = compute_leases(OLD, claim("a", "10.9.1.0/24", leave=True), holdings)
    assert str(lease.subnet) == "10.9.1.0/24"


def test_exhausted_counts_every_prefix_that_gives() -> None:
    net = network("10.8.0.0/22", drained("10.7.0.0/22"))
    holdings = held(**FULL, d="10.8.1.0/24", e="10.8.2.0/24")
    holdings.set_reservation("f", (ip_network("10.8.3.0/24"),))
    with pytest.raises(SubnetRefused) as refused:
        compute_leases(net, claim("n"), holdings)
    assert refused.value.rule is Rule.EXHAUSTED
    text = str(refused.value)
    assert "3 leased and 0 reserved of the 3 /24 subnets of 10.9.0.0/22" in text
    assert "2 leased and 1 reserved of the 3 /24 subnets of 10.8.0.0/22" in text
    assert "10.7.0.0/22" not in text


def test_use() -> None:
    holdings = held(a="10.9.1.0/24", b="10.9.3.0/24", c="10.8.1.0/24")
    holdings.set_reservation("b", (ip_network("10.9.3.0/24"),))
    holdings.set_reservation("d", (ip_network("10.9.2.0/24"),))
    table = holdings.tables[Family.IPV4]
    assert [count_use(pool, table) for pool in TWO.pools] == [(2, 1), (1, 0)]


@pytest.mark.parametrize(
    ("net", "orphans"),
    [
        pytest.param(TWO, [], id="both prefixes"),
        pytest.param(OLD, [], id="one of them drains"),
        pytest.param(network(), ["10.8.1.0/24 of node x"], id="the second is gone"),
        pytest.param(
            network(first="10.8.0.0/22"), ["10.9.1.0/24 of node a"], id="the first is gone"
        ),
        pytest.param(
            network({"Network": "10.8.0.0/22", "SubnetLen": 25}),
            ["10.8.1.0/24 of node x"],
            id="cut in another way",
        ),
        pytest.param(
            network({"Network": "10.8.0.0/22", "SubnetMin": "10.8.2.0"}),
            ["10.8.1.0/24 of node x"],
            id="beyond the bounds",
        ),
    ],
)
def test_what_a_change_would_orphan(net: Network, orphans: list[str]) -> None:
    said = describe_misfits(net, held(a="10.9.1.0/24", x="10.8.1.0/24"))
    assert bool(said) is bool(orphans)
    assert all(text in said for text in orphans)
    assert not orphans or "Drain" in said


@pytest.mark.parametrize("address", ["10.9.0.7", "10.8.0.7"])
def test_a_public_address_lies_in_none_of_the_prefixes(address: str) -> None:
    wish = Wish(family=Family.IPV4, public_ip=ip_address(address))
    asked = Claim(name="n", backend="host-gw", wishes=(wish,), ttl_s=60)
    with pytest.raises(SubnetRefused) as refused:
        compute_leases(OLD, asked, Holdings())
    assert refused.value.rule is Rule.ADDRESS
