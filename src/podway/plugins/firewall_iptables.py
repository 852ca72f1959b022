"""The ``firewall`` plugin by iptables: table filter of each family.

In: addresses. Out: rules written, found, seen. Called by `firewall_add` and its siblings.
"""

from itertools import pairwise

from podway.cni.addresses import parse_address
from podway.plugins.firewall_conf import families_of
from podway.plugins.firewall_rules import (
    CNI_FORWARD,
    STAGE_1,
    STAGE_2,
    TABLE,
    address_rules,
    compute_rules,
    policy_rules,
    shared_chains,
)
from podway.plugins.iptables_chains import NFPROTO, deletion, program_of, shape_of
from podway.plugins.iptables_changes import check_plan, write_plans
from podway.plugins.iptables_kinds import legacy_families
from podway.plugins.iptables_rules import IptablesPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.firewall_conf import FirewallConf
    from podway.plugins.iptables_chains import Requests


def compute_plans(
    conf: "FirewallConf", addresses: tuple[str, ...], bridge: str
) -> list[IptablesPlan]:
    """Return what table filter must have, for each family of *addresses*."""
    return [
        IptablesPlan(
            family=family,
            table=TABLE,
            chains=shared_chains(conf.admin_chain, bridge),
            own="",
            rules=compute_rules(
                [each for each in addresses if families_of((each,)) == (family,)],
                conf.admin_chain,
                bridge,
                isolated=conf.policy == "isolated",
            ),
        )
        for family in families_of(addresses)
    ]


def compute_policy_plans(
    conf: "FirewallConf", addresses: tuple[str, ...], bridge: str
) -> list[IptablesPlan]:
    """Return likewise what keeps bridges apart, and no more."""
    isolated = conf.policy == "isolated"
    rules = tuple(policy_rules(bridge, isolated=isolated))
    chains = (STAGE_1, STAGE_2)
    return [
        IptablesPlan(family=family, table=TABLE, chains=chains, own="", rules=rules)
        for family in families_of(addresses)
    ]


def add(nft: "NftSocket", conf: "FirewallConf", addresses: tuple[str, ...], bridge: str) -> None:
    """Write the rules; what is there already stays."""
    write_plans(nft, compute_plans(conf, addresses, bridge))


def check(nft: "NftSocket", conf: "FirewallConf", addresses: tuple[str, ...], bridge: str) -> None:
    """See that all rules are there.

    Raises:
        CniError: CHECK_FAILED.
    """
    for plan in compute_plans(conf, addresses, bridge):
        check_plan(nft, plan)


def find(nft: "NftSocket", addresses: "Iterable[str]") -> "Requests":
    """Return the requests that take away the rules of *addresses*."""
    return [
        request
        for address in addresses
        for request in find_in(nft, TABLE, address, _nfproto(address))
    ]


def find_in(nft: "NftSocket", table: str, address: str, nfproto: int) -> "Requests":
    """Return the requests that take away the rules of one address, in one table."""
    wanted = [shape_of(rule.expressions or []) for rule in address_rules(address)]
    return [
        deletion(rule, nfproto, table)
        for rule in nft.find_rules(nfproto, table, CNI_FORWARD, parse_address(address))
        if program_of(rule) in wanted
    ]


def find_isolation_garbage(
    nft: "NftSocket", table: str, nfproto: int, names: "frozenset[str]"
) -> "Requests":
    """Return the requests that take away what keeps bridges apart that are gone.

    Args:
        nft: to look with.
        table: name.
        nfproto: its family.
        names: of all devices of the host.
    """
    return [
        deletion(rule, nfproto, table)
        for chain in (STAGE_1, STAGE_2)
        for rule in nft.find_rules(nfproto, table, chain)
        for device in _devices_of(program_of(rule))
        if device not in names
    ]


def _devices_of(program: "list[dict[str, object]]") -> "set[str]":
    """Return the devices that a rule compares with: at most one here."""
    found = set()
    for load, each in pairwise(program):
        data = each["data"]
        if load["name"] == "meta" and each["name"] == "cmp" and isinstance(data, dict):
            found.add(data["data"]["value"].rstrip(b"\0").decode(errors="surrogateescape"))
    return found


def _nfproto(address: str) -> int:
    return NFPROTO[families_of((address,))[0]]


def delete_legacy(addresses: "Iterable[str]") -> None:
    """Take away the rules of *addresses* that only the legacy iptables sees.

    Raises:
        CniError: iptables fails.
    """
    from podway.plugins.iptables_lines import (  # noqa: PLC0415 - rarely needed
        change_legacy,
        line_of,
        read_legacy,
    )

    addresses = list(addresses)
    for family in legacy_families(TABLE):
        wanted = {line_of(rule) for each in addresses for rule in address_rules(each)}
        lines = [line for line in read_legacy(family, TABLE) if line in wanted]
        change_legacy(family, TABLE, [f"-D{line.removeprefix('-A')}" for line in lines])
