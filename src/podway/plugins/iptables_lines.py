"""The same changes through the programs of iptables: of the legacy kind, and what netlink cannot.

In: an `IptablesPlan`, and what iptables-save prints. Out: lines for iptables-restore, which commits
them whole or not at all. Called by `iptables_changes`, and by plugins for rules that the legacy
kind still has.
"""

from podway.cni.errors import CniError
from podway.plugins.iptables import read_table, restore
from podway.plugins.iptables_rules import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podway.plugins.iptables_rules import IptablesPlan, IptablesRule


def add_all(plan: "IptablesPlan") -> None:
    """Write what is missing of a plan.

    Raises:
        CniError: iptables is not installed, or fails.
    """
    lines = compute_lines(read_table(plan.family, plan.table), plan)
    if lines:
        restore(plan.family, plan.table, lines)


def compute_lines(saved: "Iterable[str]", plan: "IptablesPlan") -> list[str]:
    """Return the lines for iptables-restore that make what is missing in *saved*.

    Args:
        saved: the table as iptables-save prints it.
        plan: what it must have.
    """
    saved = list(saved)
    there = set(saved)
    declared = {line.split(" ", 1)[0] for line in saved if line.startswith(":")}
    chains = (*plan.chains, plan.own) if plan.own else plan.chains
    missing = [rule for rule in plan.rules if line_of(rule) not in there]
    return [
        *(f":{chain} - [0:0]" for chain in chains if f":{chain}" not in declared),
        *_compute_replaced(saved, plan, missing),
        *render_additions(missing),
    ]


def _compute_replaced(
    saved: "Iterable[str]", plan: "IptablesPlan", missing: "Iterable[IptablesRule]"
) -> list[str]:
    """Return the lines that delete rules of the own chain that match the same as a new one."""
    if not plan.own:
        return []
    starts = tuple(
        f"{line_of(rule).partition(' -j ')[0]} -j DNAT "
        for rule in missing
        if rule.chain == plan.own and not rule.jump
    )
    return [f"-D{line.removeprefix('-A')}" for line in saved if starts and line.startswith(starts)]


def render_additions(rules: "Iterable[IptablesRule]") -> list[str]:
    """Return the lines that write *rules*."""
    return [
        f"-{'I' if rule.is_first else 'A'} {rule.chain} {rule.text}" for rule in in_order(rules)
    ]


def line_of(rule: "IptablesRule") -> str:
    """Return a rule as iptables-save prints it."""
    return f"-A {rule.chain} {rule.text}"


def find_missing_lines(
    plan: "IptablesPlan", rules: "Iterable[IptablesRule]"
) -> "list[IptablesRule]":
    """Return those of *rules* that iptables does not know.

    Raises:
        CniError: iptables is not installed, or fails.
    """
    there = set(read_table(plan.family, plan.table))
    missing = [rule for rule in rules if line_of(rule) not in there]
    return [rule for rule in missing if rule.expressions is not None or not _knows(plan, rule)]


def _knows(plan: "IptablesPlan", rule: "IptablesRule") -> bool:
    """Ask iptables for a rule with conditions in its own words, which it may print otherwise."""
    try:
        restore(plan.family, plan.table, [f"-C {rule.chain} {rule.text}"])
    except CniError:
        return False
    return True


def delete_own_chains(saved: "Iterable[str]", chains: "Iterable[str]") -> list[str]:
    """Return the lines that take *chains* and all jumps to them out of *saved*."""
    saved = list(saved)
    declared = {line.split(" ", 1)[0] for line in saved if line.startswith(":")}
    lines = []
    for chain in chains:
        if f":{chain}" in declared:
            jumps = [line for line in saved if line.endswith(f" -j {chain}")]
            lines += [f"-D{line.removeprefix('-A')}" for line in jumps]
            lines += [f"-F {chain}", f"-X {chain}"]
    return lines


def read_legacy(family: int, table: str) -> list[str]:
    """Return what iptables-save of the legacy kind prints."""
    return read_table(family, table, legacy=True)


def change_legacy(family: int, table: str, lines: "list[str]") -> None:
    """Carry out *lines* by iptables-restore of the legacy kind; none is nothing to do."""
    if lines:
        restore(family, table, lines, legacy=True)
