"""The chain that accepts what FORWARD would drop: as iptables lists it, and as packets see it."""

import fcntl
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from netns.conftest import Netns
from podway.kernel import iptables_legacy
from podway.kernel.forward_chain import ForwardChain
from podway.kernel.protocol import KernelError
from podway.model.instances import PODWAY, instance_of

BOTH = (ip_network("10.244.0.0/16"), ip_network("fd00:244::/48"))
CHAIN = {
    "iptables": ["-A PODWAY-FWD -s 10.244.0.0/16 -j ACCEPT", "-d 10.244.0.0/16 -j ACCEPT"],
    "ip6tables": ["-A PODWAY-FWD -s fd00:244::/48 -j ACCEPT", "-d fd00:244::/48 -j ACCEPT"],
}


def chain_in(netns: Netns, instance: str = "") -> ForwardChain:
    return ForwardChain(instance_of(instance).marks, netns.fd)


def rules(netns: Netns, program: str) -> list[str]:
    return [line for line in listed(netns, program) if "PODWAY" in line]


def base(netns: Netns) -> list[str]:
    """Return the rules of FORWARD."""
    return listed(netns, "iptables", "FORWARD")[1:]


def listed(netns: Netns, program: str, *chain: str) -> list[str]:
    """Return what iptables lists, without podway's comments."""
    text = netns.exec(program, "-S", *chain)
    return re.sub(r' -m comment --comment "podway: [^"]*"', "", text).splitlines()


def test_it_is_made_where_it_is_needed(netns: Netns) -> None:
    for program in CHAIN:
        netns.exec(program, "-A", "FORWARD", "-p", "tcp", "-j", "RETURN")
    chain = chain_in(netns)
    assert chain.keep(BOTH).written == ()
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    assert chain.keep(BOTH).written == ("ip",)
    netns.exec("ip6tables", "-P", "FORWARD", "DROP")
    assert chain.keep(BOTH).written == ("ip6",)
    kept = chain.keep(BOTH)
    assert (kept.written, kept.dropping) == ((), ())
    for program, accepted in CHAIN.items():
        made, first, second, jump = sorted(rules(netns, program), key=_order)
        assert made == "-N PODWAY-FWD"
        assert first == accepted[0]
        assert second.endswith(accepted[1])
        assert jump.endswith("-j PODWAY-FWD")
        assert listed(netns, program, "FORWARD")[-1] == jump


def _order(line: str) -> tuple[bool, bool]:
    return (line.startswith("-A FORWARD"), line.startswith("-A"))


def test_a_node_without_iptables_is_left_without(netns: Netns) -> None:
    assert chain_in(netns).keep(BOTH).written == ()
    assert netns.exec("nft", "list", "ruleset") == ""


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(["-D FORWARD 1"], id="the jump deleted"),
        pytest.param(["-F FORWARD"], id="FORWARD flushed"),
        pytest.param(["-F PODWAY-FWD"], id="the chain flushed"),
        pytest.param(["-D PODWAY-FWD 2"], id="half of the chain"),
        pytest.param(["-A PODWAY-FWD -j DROP"], id="a rule added to the chain"),
        pytest.param(["-F"], id="everything flushed"),
        pytest.param(["-F", "-X PODWAY-FWD"], id="flushed and deleted"),
    ],
)
def test_it_is_put_back(netns: Netns, damage: list[str]) -> None:
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    chain_in(netns).keep(BOTH)
    before = rules(netns, "iptables")
    for words in damage:
        netns.exec("iptables", *words.split())
    assert rules(netns, "iptables") != before
    assert chain_in(netns).keep(BOTH).written == ("ip",)
    assert sorted(rules(netns, "iptables")) == sorted(before)


def test_made_once_it_stays_and_follows_the_network(netns: Netns) -> None:
    netns.exec("iptables", "-P", "FORWARD", "DROP")
    chain_in(netns).keep(BOTH[:1])
    netns.exec("iptables", "-P", "FORWARD", "ACCEPT")
    chain = chain_in(netns)
    assert chain.keep([ip_network("10.9.0.0/16"), ip_network("10.8.0.0/15")]).written == ("ip",)
    assert chain.keep([ip_network("10.9.0.0/16"), ip_network("10.8.0.0/15")]).written == ()
    assert not [line for line in rules(netns, "iptables") if "10.244" in line]
    assert len(rules(netns, "iptables")) == 6
    assert chain.keep(()).written == ("ip",)
    assert rules(netns, "iptables") == []


REJECT = "-A FORWARD -j REJECT --reject-with icmp-port-unreachable"
LATE = "rule 1 of chain FORWARD drops every packet that comes to it"


@pytest.mark.parametrize(
    ("given", "after", "dropping"),
    [
        pytest.param(
            ["-P FORWARD DROP", "-A FORWARD -s 192.0.2.0/24 -j DROP"],
            ["-A FORWARD -s 192.0.2.0/24 -j DROP", "-A FORWARD -j PODWAY-FWD"],
            "",
            id="a policy and rules about some packets",
        ),
        pytest.param(
            ["-A FORWARD -p tcp -j ACCEPT", "-A FORWARD -j REJECT"],
            ["-A FORWARD -p tcp -j ACCEPT", "-A FORWARD -j PODWAY-FWD", REJECT],
            "",
            id="a last rule that rejects all",
        ),
        pytest.param(
            ["-A FORWARD -m comment --comment all -j DROP"],
            ["-A FORWARD -j PODWAY-FWD", "-A FORWARD -m comment --comment all -j DROP"],
            "",
            id="a last rule with a comment that drops all",
        ),
        pytest.param(
            ["-A FORWARD -j DROP", "-A FORWARD -p tcp -j ACCEPT"],
            ["-A FORWARD -j DROP", "-A FORWARD -p tcp -j ACCEPT"],
            LATE,
            id="somebody stops all",
        ),
        pytest.param(
            ["-N PODWAY-FWD", "-A FORWARD -j PODWAY-FWD", "-I FORWARD -j DROP"],
            ["-A FORWARD -j DROP", "-A FORWARD -j PODWAY-FWD"],
            LATE,
            id="somebody stops all with podway's rules there",
        ),
        pytest.param(
            ["-N PODWAY-FWD", "-A FORWARD -j PODWAY-FWD", "-A FORWARD -j DROP", "-A FORWARD"],
            ["-A FORWARD -j PODWAY-FWD", "-A FORWARD -j DROP", "-A FORWARD"],
            "",
            id="podway's jump before all that",
        ),
        pytest.param(
            ["-P FORWARD DROP", "-A FORWARD -j ACCEPT"],
            ["-A FORWARD -j ACCEPT"],
            "",
            id="all accepted before the policy",
        ),
        pytest.param(
            ["-A FORWARD -j RETURN", "-A FORWARD -j DROP"],
            ["-A FORWARD -j RETURN", "-A FORWARD -j DROP"],
            "",
            id="a rule that is never reached",
        ),
    ],
)
def test_what_forward_does_with_a_packet_that_it_does_not_know(
    netns: Netns, given: list[str], after: list[str], dropping: str
) -> None:
    for words in given:
        netns.exec("iptables", *words.split())
    for _ in range(2):
        kept = chain_in(netns).keep(BOTH)
        assert kept.dropping == ((f"iptables: {dropping}",) if dropping else ())
        assert base(netns) == after
    assert kept.written == ()


def test_instances_do_not_fight(netns: Netns) -> None:
    netns.exec("iptables", "-A", "FORWARD", "-j", "REJECT")
    names = ("", "blue", "fwd")
    prefixes = [ip_network(f"10.{number}.0.0/16") for number in range(len(names))]
    chains = [chain_in(netns, name) for name in names]
    for chain, prefix in zip(chains, prefixes, strict=True):
        assert chain.keep([prefix]).written == ("ip",)
    for chain, prefix in zip(chains, prefixes, strict=True):
        assert chain.keep([prefix]).written == ()
    jumps = [line.rpartition(" ")[2] for line in base(netns)]
    assert jumps[:3] == ["PODWAY-FWD", "PODWAY-BLUE-FWD", "PODWAY-FWD-FWD"]
    chains[0].remove()
    assert [chain.find() for chain in chains] == [
        [],
        ["chain ip filter PODWAY-BLUE-FWD"],
        ["chain ip filter PODWAY-FWD-FWD"],
    ]
    assert len(base(netns)) == 3


def test_it_is_removed_with_all_that_leads_to_it(netns: Netns) -> None:
    for program in CHAIN:
        netns.exec(program, "-P", "FORWARD", "DROP")
    chain = ForwardChain(PODWAY, netns.fd)
    assert chain.find() == []
    chain.keep(BOTH)
    netns.exec("iptables", "-A", "OUTPUT", "-p", "udp", "-j", "PODWAY-FWD")
    assert chain.find() == ["chain ip filter PODWAY-FWD", "chain ip6 filter PODWAY-FWD"]
    for _ in range(2):
        chain.remove()
        assert chain.find() == []
        assert [rules(netns, program) for program in CHAIN] == [[], []]


def test_the_legacy_kind_is_told_and_left(netns: Netns) -> None:
    chain = chain_in(netns)
    assert chain.find_legacy_drops(BOTH) == []
    netns.exec("iptables-legacy", "-P", "FORWARD", "ACCEPT")
    assert chain.find_legacy_drops(BOTH) == []
    netns.exec("iptables-legacy", "-P", "FORWARD", "DROP")
    before = netns.exec("iptables-legacy-save", "-t", "filter").splitlines()[1:-1]
    (told,) = chain.find_legacy_drops(BOTH)
    assert told.startswith("iptables-legacy: chain FORWARD drops")
    assert "10.244.0.0/16" in told
    assert chain.keep(BOTH).written == ()
    assert netns.exec("iptables-legacy-save", "-t", "filter").splitlines()[1:-1] == before
    for way in ("-s", "-d"):
        netns.exec("iptables-legacy", "-A", "FORWARD", way, "10.244.0.0/16", "-j", "ACCEPT")
    assert chain.find_legacy_drops(BOTH) == []


def test_a_program_that_holds_iptables_lock_is_waited_for_no_longer_than_that(
    netns: Netns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netns.exec("iptables-legacy", "-P", "FORWARD", "DROP")
    monkeypatch.setattr(iptables_legacy, "_LOOK_S", 1)
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "lock"))
    with (tmp_path / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(KernelError):
            chain_in(netns).find_legacy_drops(BOTH)
