"""flanneld's rules in their three forms: found, and removed without touching anybody else's."""

import pytest

from netns.conftest import Netns
from podway.kernel.flannel_rules import find_rule_sets, remove_rule_sets
from podway.model.leftovers import RuleSet

NETWORK = {"iptables": "10.244.0.0/16", "ip6tables": "fd00:244::/48"}
NFT = """
table ip flannel-ipv4 {
  chain postrtg {
    type nat hook postrouting priority srcnat;
    meta mark 0x4000 return;
    ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random;
  }
  chain forward {
    type filter hook forward priority filter;
    ip saddr 10.244.0.0/16 accept;
  }
}
table ip6 flannel-ipv6 {
  chain postrtg {
    type nat hook postrouting priority srcnat;
  }
}
table ip other {
  chain postrtg {
    type nat hook postrouting priority srcnat;
    masquerade;
  }
}
"""


def write_chains(netns: Netns, program: str, suffix: str = "") -> None:
    network, command = NETWORK[program], f"{program}{suffix}"
    for rule in (
        "-t nat -N FLANNEL-POSTRTG",
        "-t nat -A POSTROUTING -m comment --comment flanneld_masq -j FLANNEL-POSTRTG",
        "-t nat -A POSTROUTING -m comment --comment FLANNEL-POSTRTG -j MASQUERADE",
        f"-t nat -A FLANNEL-POSTRTG -s {network} -j MASQUERADE --random-fully",
        "-t filter -N FLANNEL-FWD",
        "-t filter -A FORWARD -m comment --comment flanneld_forward -j FLANNEL-FWD",
        f"-t filter -A FLANNEL-FWD -s {network} -j ACCEPT",
        "-t filter -A FORWARD -s 192.0.2.0/24 -j ACCEPT" if program == "iptables" else "-L",
    ):
        netns.exec(command, *rule.split())


@pytest.mark.parametrize(("program", "family"), [("iptables", "ip"), ("ip6tables", "ip6")])
def test_chains_of_iptables(netns: Netns, program: str, family: str) -> None:
    write_chains(netns, program)
    found = find_rule_sets(netns.fd)
    assert found == (
        RuleSet(family=family, table="nat", chain="FLANNEL-POSTRTG", rules=2),
        RuleSet(family=family, table="filter", chain="FLANNEL-FWD", rules=2),
    )
    remove_rule_sets(found, netns.fd)
    assert find_rule_sets(netns.fd) == ()
    left = netns.exec(f"{program}-save")
    assert "-j FLANNEL" not in left
    assert ":FLANNEL" not in left
    assert "--comment FLANNEL-POSTRTG -j MASQUERADE" in left
    assert ("-s 192.0.2.0/24 -j ACCEPT" in left) == (program == "iptables")
    remove_rule_sets(found, netns.fd)  # gone is fine


def test_chains_of_the_legacy_kind(netns: Netns) -> None:
    write_chains(netns, "iptables", "-legacy")
    found = find_rule_sets(netns.fd)
    assert [(each.chain, each.legacy) for each in found] == [
        ("FLANNEL-POSTRTG", True),
        ("FLANNEL-FWD", True),
    ]
    remove_rule_sets(found, netns.fd)
    assert find_rule_sets(netns.fd) == ()
    assert "-s 192.0.2.0/24 -j ACCEPT" in netns.exec("iptables-legacy-save")


def test_tables_of_nftables(netns: Netns) -> None:
    netns.exec("nft", NFT)
    found = find_rule_sets(netns.fd)
    assert found == (
        RuleSet(family="ip", table="flannel-ipv4", rules=3),
        RuleSet(family="ip6", table="flannel-ipv6", rules=0),
    )
    remove_rule_sets(found, netns.fd)
    assert netns.exec("nft", "list", "tables").split() == ["table", "ip", "other"]


@pytest.mark.parametrize(("policy", "needed"), [("ACCEPT", False), ("DROP", True)])
def test_what_a_dropping_policy_makes_needed(netns: Netns, policy: str, *, needed: bool) -> None:
    write_chains(netns, "iptables")
    netns.exec("iptables", "-P", "FORWARD", policy)
    assert [each.is_needed for each in find_rule_sets(netns.fd)] == [False, needed]
