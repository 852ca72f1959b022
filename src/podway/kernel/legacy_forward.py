"""What the FORWARD of iptables-legacy would drop of the network, in words.

Nothing is written there: it takes another program, and its users have their own ways. Its rules
tell when somebody has allowed the network, and then there is nothing to say.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_network

from podway.kernel.errors import worded
from podway.kernel.iptables_legacy import PROGRAMS, is_installed, list_rules, tables_in_use
from podway.model.addresses import IPNetwork, prefix_contains

_FAMILIES = {4: "ip", 6: "ip6"}
_BASE = "FORWARD"
_DROPS = frozenset({"DROP", "REJECT"})


def find_legacy_drops(prefixes: Sequence[IPNetwork], netns_fd: int | None) -> list[str]:
    """Return a sentence for each family whose packets may be dropped.

    It may take seconds while another program holds iptables' lock: not for the kernel's thread.

    Raises:
        KernelError: the rules cannot be listed.
    """
    with worded("list rules of iptables-legacy"):
        return [
            sentence
            for version, family in _FAMILIES.items()
            if (wanted := [prefix for prefix in prefixes if prefix.version == version])
            for sentence in _of_family(family, wanted, netns_fd)
        ]


def _of_family(family: str, prefixes: Sequence[IPNetwork], netns_fd: int | None) -> Iterator[str]:
    if "filter" not in tables_in_use(family, netns_fd):
        return
    program = PROGRAMS[family]
    if not is_installed(family):
        yield f"{program}: its tables are in use, and the program that could list them is missing"
        return
    missing = dropped_by(list_rules(family, "filter", netns_fd), prefixes)
    if missing:
        names = ", ".join(map(str, missing))
        yield f"{program}: chain {_BASE} drops what it does not know; let it accept {names}"


def dropped_by(lines: Sequence[str], prefixes: Sequence[IPNetwork]) -> list[IPNetwork]:
    """Return those of *prefixes* from and to which not every packet is accepted.

    Args:
        lines: of ``iptables -S``, for table filter.
        prefixes: of one family.
    """
    rules = [words for line in lines if len(words := _words(line)) > 1]
    policy = ["-P", _BASE, "DROP"] in rules
    closed = any(rule[:3] == ["-A", _BASE, "-j"] and rule[3] in _DROPS for rule in rules)
    if ["-A", _BASE, "-j", "ACCEPT"] in rules or not (policy or closed):
        return []
    reached = {_BASE} | {rule[-1] for rule in rules if _is_plain_jump(rule)}
    accepted = [pair for rule in rules if rule[1] in reached for pair in _accepts(rule)]
    return [
        prefix
        for prefix in prefixes
        if not all(
            any(way == flag and prefix_contains(there, prefix) for flag, there in accepted)
            for way in ("-s", "-d")
        )
    ]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # half of a comment of more than one line
        return []


def _is_plain_jump(rule: Sequence[str]) -> bool:
    """Tell whether *rule* sends everything from FORWARD to another chain."""
    return rule[:2] == ["-A", _BASE] and _without_comment(rule)[2:3] == ["-j"]


def _accepts(rule: Sequence[str]) -> Iterator[tuple[str, IPNetwork]]:
    """Yield the one match ("-s" or "-d", and a prefix) with which *rule* accepts."""
    match _without_comment(rule):
        case ["-A", _, ("-s" | "-d") as flag, prefix, "-j", "ACCEPT"]:
            with suppress(ValueError):  # a mask that is no prefix: of no use here
                yield flag, ip_network(prefix)
        case _:
            pass


def _without_comment(rule: Sequence[str]) -> list[str]:
    words = list(rule)
    if "--comment" in words:
        place = words.index("--comment")
        del words[place - 2 : place + 2]
    return words
