"""Chains of others that drop what is forwarded: which are named, and when that may have changed."""

import pytest

from netns.kernel.worlds import RealWorld, wait_for
from podway.kernel.protocol import ForwardChanged

FORWARD = "{ type filter hook forward priority 0; policy"


def nft(real: RealWorld, *commands: str) -> None:
    real.netns.exec("nft", "; ".join(commands))


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        pytest.param([], (), id="nothing"),
        pytest.param(
            ["add table inet fw", f"add chain inet fw f {FORWARD} drop; }}"],
            ("inet fw f",),
            id="policy drop",
        ),
        pytest.param(
            [
                "add table ip fw",
                f"add chain ip fw f {FORWARD} drop; }}",
                "add rule ip fw f accept",
            ],
            (),
            id="policy drop behind a rule that accepts all",
        ),
        pytest.param(
            [
                "add table inet firewalld",
                f"add chain inet firewalld filter_FORWARD {FORWARD} accept; }}",
                "add chain inet firewalld filter_FORWARD_ZONES",
                "add rule inet firewalld filter_FORWARD ct state established,related accept",
                "add rule inet firewalld filter_FORWARD jump filter_FORWARD_ZONES",
                "add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited",
            ],
            ("inet firewalld filter_FORWARD",),
            id="a last rule that rejects all, as firewalld's",
        ),
        pytest.param(
            ["add table inet fw", f"add chain inet fw f {FORWARD} accept; }}"], (), id="accept"
        ),
        pytest.param(
            [
                "add table inet fw",
                "add chain inet fw f { type filter hook input priority 0; }",
                "add rule inet fw f drop",
            ],
            (),
            id="another hook",
        ),
        pytest.param(
            [
                "add table bridge fw",
                f"add chain bridge fw f {FORWARD} drop; }}",
                "add table ip6 fw",
                f"add chain ip6 fw f {FORWARD} drop; }}",
            ],
            ("bridge fw f", "ip6 fw f"),
            id="of two families",
        ),
        pytest.param(
            ["add table ip filter", f"add chain ip filter FORWARD {FORWARD} drop; }}"],
            (),
            id="that of iptables",
        ),
    ],
)
def test_those_are_named_that_drop(
    real: RealWorld, commands: list[str], found: tuple[str, ...]
) -> None:
    if commands:
        nft(real, *commands)
    assert real.kernel.find_forward_drops() == found


@pytest.mark.parametrize(
    ("command", "left"),
    [
        pytest.param("delete chain inet fw f", (), id="the chain goes"),
        pytest.param("delete table inet fw", (), id="its table goes"),
        pytest.param("flush ruleset", (), id="everything goes"),
        pytest.param(
            f"add chain inet fw f {FORWARD} accept; }}", (), id="its policy becomes accept"
        ),
        pytest.param("add rule inet fw f accept", (), id="it accepts everything"),
        pytest.param(
            f"add chain inet fw g {FORWARD} drop; }}", ("inet fw f", "inet fw g"), id="another one"
        ),
    ],
)
def test_what_may_change_the_answer_is_told(
    real: RealWorld, command: str, left: tuple[str, ...]
) -> None:
    nft(real, "add table inet fw", f"add chain inet fw f {FORWARD} drop; }}")
    assert real.kernel.find_forward_drops() == ("inet fw f",)
    real.kernel.drain()
    nft(real, command)
    wait_for(real, ForwardChanged())
    assert real.kernel.find_forward_drops() == left


def test_what_others_do_elsewhere_is_not_told(real: RealWorld) -> None:
    nft(real, "add table inet fw", f"add chain inet fw f {FORWARD} drop; }}", "add table ip nat")
    real.kernel.find_forward_drops()
    real.kernel.drain()
    for command in ("add chain ip nat x", "add rule ip nat x drop", "delete table ip nat"):
        nft(real, command)
        assert ForwardChanged() not in real.kernel.drain()
