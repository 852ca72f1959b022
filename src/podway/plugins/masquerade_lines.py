"""Masquerade through the programs of iptables: of the legacy kind, and where there is no table yet.

In: `Masquerade`, and what iptables-save prints. Out: lines for iptables-restore. Called by
`masquerade_iptables` and `masquerade_rules`. What is there is read first, so that nothing is
written twice and a chain that two interfaces of a container share stays as long as one of them.
"""

from podway.cni.errors import IO_FAILURE, CniError
from podway.plugins.iptables import read_table, restore
from podway.plugins.iptables_kinds import legacy_families
from podway.plugins.iptables_names import quote
from podway.plugins.iptables_rules import network_text
from podway.plugins.masquerade import (
    MULTICAST,
    POSTROUTING,
    TABLE,
    chain_name,
    cidrs_of,
    comment_start,
    comment_text,
    host_prefix,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

    from podway.plugins.masquerade import Masquerade

# How often to look again when iptables-restore fails: another call may have changed the table.
_ATTEMPTS: "Final" = 5


def add_lines(wanted: "Masquerade", family: int) -> None:
    """Write the rules of an attachment.

    Raises:
        CniError: iptables is not installed, or fails.
    """

    def compute(saved: list[str], family: int) -> list[str]:
        return compute_additions(saved, wanted, family)

    _change(family, compute)


def count_missing_lines(wanted: "Masquerade", family: int) -> int:
    """Return how many rules of an attachment are missing."""
    return len(compute_additions(read_table(family, TABLE), wanted, family))


def compute_additions(saved: "Iterable[str]", wanted: "Masquerade", family: int) -> list[str]:
    """Return the lines for iptables-restore that make what is missing in *saved*.

    Args:
        saved: table nat as iptables-save prints it.
        wanted: the attachment.
        family: IPV4 or IPV6.
    """
    chain = chain_name(wanted.network, wanted.container_id)
    told = f"-m comment --comment {quote(comment_text(wanted.network, wanted.container_id))}"
    rules = [
        (f"{chain} -d {network_text(cidr)} {told} -j ACCEPT") for cidr in cidrs_of(wanted, family)
    ]
    first = len(rules)
    rules.append(f"{chain} ! -d {MULTICAST[family]} {told} -j MASQUERADE")
    rules += [
        f"{POSTROUTING} -s {host_prefix(cidr)} {told} -j {chain}"
        for cidr in cidrs_of(wanted, family)
    ]
    there = set(saved)
    lines = [] if any(line.startswith(f":{chain} ") for line in there) else [f":{chain} - [0:0]"]
    # Subnets go before the line that masquerades.
    commands = ["-I"] * first + ["-A"] * (len(rules) - first)
    return lines + [
        f"{command} {rule}"
        for command, rule in zip(commands, rules, strict=True)
        if f"-A {rule}" not in there
    ]


def compute_deletions(saved: "Iterable[str]", wanted: "Masquerade", family: int) -> list[str]:
    """Return the lines for iptables-restore that take away what *saved* has of an attachment."""
    chain = chain_name(wanted.network, wanted.container_id)
    saved = list(saved)
    if not any(line.startswith(f":{chain} ") for line in saved):
        return []
    jumps = [line for line in saved if line.endswith(f" -j {chain}")]
    sources = [f" -s {host_prefix(cidr)} " for cidr in cidrs_of(wanted, family)]
    mine = [line for line in jumps if not wanted.cidrs or any(source in line for source in sources)]
    lines = [f"-D{line.removeprefix('-A')}" for line in mine]
    return lines if len(mine) < len(jumps) else [*lines, f"-F {chain}", f"-X {chain}"]


def delete_legacy(wanted: "Masquerade") -> None:
    """Take away the rules of an attachment that stand in the legacy kind's tables."""

    def compute(saved: list[str], family: int) -> list[str]:
        return compute_deletions(saved, wanted, family)

    for family in legacy_families(TABLE):
        _change(family, compute, legacy=True)


def delete_legacy_garbage(network: str, valid: "frozenset[tuple[str, str]]") -> None:
    """Take away what the legacy kind has of containers without a valid attachment."""
    kept = {chain_name(network, container) for container, _ in valid}

    def compute(saved: list[str], _: int) -> list[str]:
        return compute_garbage(saved, network, kept)

    for family in legacy_families(TABLE):
        _change(family, compute, legacy=True)


def compute_garbage(saved: "Iterable[str]", network: str, kept: set[str]) -> list[str]:
    """Return the lines that take away what *saved* has of a network, but for chains in *kept*."""
    start = quote(comment_start(network))[:-1]
    saved = [line for line in saved if start in line]
    chains = {_chain_of_line(line) for line in saved} - kept
    jumps = [line for line in saved if line.startswith(f"-A {POSTROUTING} ")]
    lines = [f"-D{line.removeprefix('-A')}" for line in jumps if _chain_of_line(line) in chains]
    for chain in sorted(chains):
        lines += (f"-F {chain}", f"-X {chain}")
    return lines


def _change(
    family: int, compute: "Callable[[list[str], int], list[str]]", *, legacy: bool = False
) -> None:
    """Change table nat by what *compute* makes of its lines; anew if somebody was faster.

    Raises:
        CniError: iptables is not installed, or fails.
    """
    for attempt in range(_ATTEMPTS):
        lines = compute(read_table(family, TABLE, legacy=legacy), family)
        if not lines:
            return
        try:
            restore(family, TABLE, lines, legacy=legacy)
        except CniError as error:
            if error.code != IO_FAILURE or attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _chain_of_line(line: str) -> str:
    words = line.split()
    return words[-1] if words[1] == POSTROUTING else words[1]
