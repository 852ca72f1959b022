r"""Rules of the ``firewall`` plugin, in chains that all containers share.

In: addresses, a bridge. Out: an `IptablesPlan`, pure. Called by `firewall_iptables` and, for a
table of nftables, `firewall_nftables`. The reference plugin's::

    -I FORWARD -j CNI-ISOLATION-STAGE-1            (ingressPolicy)
    -I FORWARD -j CNI-FORWARD
    -I CNI-FORWARD -j CNI-ADMIN                    (the administrator's own chain)
    -A CNI-FORWARD -d 10.1.0.5/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT
    -I CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 -j CNI-ISOLATION-STAGE-2
    -I CNI-ISOLATION-STAGE-1 -i cni0 -o cni0 -j DROP                    (isolated)
    -A CNI-ISOLATION-STAGE-1 -j RETURN
    -I CNI-ISOLATION-STAGE-2 -o cni0 -j DROP
    -A CNI-ISOLATION-STAGE-2 -j RETURN

What leaves one such bridge for another one is dropped; what comes from elsewhere is not.
"""

from podway.plugins.iptables_phrases import (
    accept,
    comment,
    drop,
    established,
    jump,
    leave,
    through,
)
from podway.plugins.iptables_rules import make_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from podway.plugins.iptables_rules import IptablesRule

TABLE: "Final" = "filter"
FORWARD: "Final" = "FORWARD"
CNI_FORWARD: "Final" = "CNI-FORWARD"
STAGE_1: "Final" = "CNI-ISOLATION-STAGE-1"
STAGE_2: "Final" = "CNI-ISOLATION-STAGE-2"
_POLICY_COMMENT: "Final" = "CNI firewall plugin rules (ingressPolicy: {})"


def address_rules(address: str) -> "list[IptablesRule]":
    """Return the rules that let one address send, and be answered."""
    return [
        make_rule(CNI_FORWARD, accept(), established(), destination=address),
        make_rule(CNI_FORWARD, accept(), source=address),
    ]


def compute_rules(
    addresses: "Iterable[str]", admin_chain: str, bridge: str, *, isolated: bool
) -> "tuple[IptablesRule, ...]":
    """Return all rules of an attachment, and those that lead to them.

    Args:
        addresses: of one family.
        admin_chain: the administrator's.
        bridge: that the policy is about, "" for none.
        isolated: its containers are kept from each other, too.
    """
    admin = comment("CNI firewall plugin admin overrides")
    return (
        # First of all: what is dropped there is not accepted here.
        *(policy_rules(bridge, isolated=isolated) if bridge else ()),
        make_rule(FORWARD, jump(CNI_FORWARD), comment("CNI firewall plugin rules"), is_first=True),
        make_rule(CNI_FORWARD, jump(admin_chain), admin, is_first=True),
        *(rule for address in addresses for rule in address_rules(address)),
    )


def shared_chains(admin_chain: str, bridge: str) -> tuple[str, ...]:
    """Return the chains that are made unless they are there."""
    stages = (STAGE_1, STAGE_2) if bridge else ()
    return (CNI_FORWARD, admin_chain, *stages)


def policy_rules(bridge: str, *, isolated: bool) -> "list[IptablesRule]":
    """Return the rules that keep *bridge* and others apart, and those that lead to them."""
    told = comment(_POLICY_COMMENT.format("same-bridge"))
    inside = comment(_POLICY_COMMENT.format("isolated"))
    out = through(bridge, bridge, other=True)
    within = through(bridge, bridge)
    rules = [
        make_rule(FORWARD, jump(STAGE_1), told, is_first=True),
        make_rule(STAGE_1, jump(STAGE_2), out, told, is_first=True),
    ]
    if isolated:
        rules.append(make_rule(STAGE_1, drop(), within, inside, is_first=True))
    return [
        *rules,
        make_rule(STAGE_1, leave(), told),
        make_rule(STAGE_2, drop(), through("", bridge), told, is_first=True),
        make_rule(STAGE_2, leave(), told),
    ]
