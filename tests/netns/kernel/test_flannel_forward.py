"""The chain that accepts what FORWARD would drop: as iptables lists it."""

from ipaddress import ip_network

import pytest

from netns.conftest import Netns
from podway.kernel.flannel_forward import ForwardChain
from podway.kernel.flannel_rules import find_rule_sets, remove_rule_sets

BOTH = (ip_network("10.244.0.0/16"), ip_network("fd00:244::/48"))
CHAIN = {
    "iptables": ["-A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT", "-d 10.244.0.0/16 -j ACCEPT"],
    "ip6tables": ["-A FLANNEL-FWD -s fd00:244::/48 -j ACCEPT", "-d fd00:244::/48 -j ACCEPT"],
}


def rules(netns: Netns, program: str) -> list[str]:
    return [line for line in netns.exec(program, "-S").splitlines() if "FLANNEL" in line]


def test_it_is_made_where_it_is_needed(netns: Netns) -> None:
    for program in CHAIN:
        netns.exec(program, "-A", "FORWARD", "-j", "RETURN")
    chain = ForwardChain(netns.fd)
    assert chain.keep(BOTH) == []
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    assert chain.keep(BOTH) == ["ip"]
    netns.exec("ip6tables", "-P", "FORWARD", "DROP")
    assert chain.keep(BOTH) == ["ip6"]
    assert chain.keep(BOTH) == []
    for program, accepted in CHAIN.items():
        made, first, second, jump = sorted(rules(netns, program), key=_order)
        assert made == "-N FLANNEL-FWD"
        assert first == accepted[0]
        assert second.endswith(accepted[1])
        assert jump.endswith("-j FLANNEL-FWD")
        assert netns.exec(program, "-S", "FORWARD").splitlines()[-1] == jump


def _order(line: str) -> tuple[bool, bool]:
    return (line.startswith("-A FORWARD"), line.startswith("-A"))


@pytest.mark.parametrize("damage", ["-D FORWARD 1", "-F FORWARD"])
def test_it_is_put_back(netns: Netns, damage: str) -> None:
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    chain = ForwardChain(netns.fd)
    chain.keep(BOTH)
    before = rules(netns, "iptables")
    netns.exec("iptables", *damage.split())
    assert chain.keep(BOTH) == ["ip"]
    assert rules(netns, "iptables") == before


def test_another_network_takes_the_place_of_the_first(netns: Netns) -> None:
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    chain = ForwardChain(netns.fd)
    chain.keep(BOTH[:1])
    assert chain.keep([ip_network("10.9.0.0/16")]) == ["ip"]
    assert not [line for line in rules(netns, "iptables") if "10.244" in line]
    assert len(rules(netns, "iptables")) == 4


def test_it_is_found_and_removed_as_flannelds(netns: Netns) -> None:
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    ForwardChain(netns.fd).keep(BOTH)
    (found,) = find_rule_sets(netns.fd)
    assert (found.chain, found.rules, found.is_needed) == ("FLANNEL-FWD", 3, True)
    remove_rule_sets([found], netns.fd)
    assert rules(netns, "iptables") == []


def test_a_flannelds_own_is_left_as_it_is(netns: Netns) -> None:
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    netns.exec("iptables", "-N", "FLANNEL-FWD")
    netns.exec("iptables", "-A", "FORWARD", "-j", "FLANNEL-FWD")
    netns.exec("iptables", "-A", "FLANNEL-FWD", "-s", "10.244.0.0/16", "-j", "ACCEPT")
    before = rules(netns, "iptables")
    assert ForwardChain(netns.fd).keep(BOTH[:1]) == []
    assert rules(netns, "iptables") == before
