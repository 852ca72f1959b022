"""Which iptables a system has.

In: nothing but the system. Out: what is installed, and of which kind. There are two kinds, which do
not see each other's rules: *nft* writes nf_tables, so that `podway.netlink.nft_rules` can read and
change what it wrote; *legacy* has tables of its own. A system's programs are one of the two; rules
of the other may be left over from before a change.
"""

import posix
from errno import EINVAL

from podway.plugins.program_paths import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

IPV4: "Final" = 4
IPV6: "Final" = 6
COMMANDS: "Final" = {IPV4: "iptables", IPV6: "ip6tables"}
_LEGACY_TABLES: "Final" = {IPV4: "/proc/net/ip_tables_names", IPV6: "/proc/net/ip6_tables_names"}
_LINKS_MAX: "Final" = 8


def has_program(family: int, tool: str) -> bool:
    """Tell whether a program is installed: "restore", "save", "legacy-restore"."""
    return find_program(f"{COMMANDS[family]}-{tool}") is not None


def writes_nft(family: int) -> bool:
    """Tell whether the system's iptables is of the nft kind, by where its name leads."""
    path = find_program(f"{COMMANDS[family]}-restore")
    for _ in range(_LINKS_MAX):
        if path is None or "nft" in path.rpartition("/")[2]:
            return path is not None
        path = _next_link(path)
    return False


def has_legacy_table(family: int, table: str) -> bool:
    """Tell whether the legacy kind has *table* in this namespace."""
    try:
        descriptor = posix.open(_LEGACY_TABLES[family], posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # the kernel has no legacy iptables, or it was never used
        return False
    try:
        return table.encode() in posix.read(descriptor, 4096).split()
    finally:
        posix.close(descriptor)


def legacy_families(table: str) -> list[int]:
    """Return the families that may have rules in *table* of the legacy kind."""
    return [
        family
        for family in (IPV4, IPV6)
        if has_legacy_table(family, table)
        and (has_program(family, "legacy-restore") or not writes_nft(family))
    ]


def _next_link(path: str) -> str | None:
    """Return what a symbolic link leads to, None if *path* is none."""
    try:
        target = posix.readlink(path)
    except OSError as error:
        if error.errno == EINVAL:
            return None
        raise
    return target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
