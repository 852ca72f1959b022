"""iptables by its programs: which there are, what a table holds, many changes in one go.

In: lines as iptables-save prints them. Out: the same, or a changed table. For plugins whose rules
other software expects in iptables. Starting a program costs about 2 ms, so everything goes into one
iptables-restore, which commits it whole or not at all.

There are two kinds of iptables, which do not see each other's rules: *nft* writes nf_tables, so
that `podway.netlink.nft_rules` can read and change what it wrote; *legacy* has tables of its own. A
system's programs are one of the two; rules of the other may be left over from before a change.
"""

import posix
from errno import EINVAL

from podway.cni.errors import IO_FAILURE, UNSUPPORTED_FIELD, CniError
from podway.plugins.programs import find_program, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

IPV4: "Final" = 4
IPV6: "Final" = 6
_COMMANDS: "Final" = {IPV4: "iptables", IPV6: "ip6tables"}
_LEGACY_TABLES: "Final" = {IPV4: "/proc/net/ip_tables_names", IPV6: "/proc/net/ip6_tables_names"}
# How long to wait for another iptables; only the legacy kind has a lock.
_WAIT_S: "Final" = "10"
_LINKS_MAX: "Final" = 8


def has_program(family: int, tool: str) -> bool:
    """Tell whether a program is installed: "restore", "save", "legacy-restore"."""
    return find_program(f"{_COMMANDS[family]}-{tool}") is not None


def writes_nft(family: int) -> bool:
    """Tell whether the system's iptables is of the nft kind, by where its name leads."""
    path = find_program(f"{_COMMANDS[family]}-restore")
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


def read_table(family: int, table: str, *, legacy: bool = False) -> list[str]:
    """Return the lines of iptables-save for *table*.

    Args:
        family: IPV4 or IPV6.
        table: "nat", "filter", ...
        legacy: of the legacy kind, if its programs have a name of their own.

    Raises:
        CniError: UNSUPPORTED_FIELD, no such program; IO_FAILURE, it failed.
    """
    path = _program(family, "save", legacy=legacy)
    return _run([path, "-t", table], b"").decode(errors="replace").splitlines()


def restore(family: int, table: str, lines: "Iterable[str]", *, legacy: bool = False) -> None:
    """Change *table* by *lines* (``-A ...``, ``-D ...``, ``:CHAIN - [0:0]``), all or nothing.

    Raises:
        CniError: as `read_table`.
    """
    path = _program(family, "restore", legacy=legacy)
    text = "\n".join((f"*{table}", *lines, "COMMIT", ""))
    _run([path, "--noflush", "--wait", _WAIT_S], text.encode())


def quote(text: str) -> str:
    """Return *text* as iptables-save prints an argument with blanks or quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _program(family: int, tool: str, *, legacy: bool) -> str:
    command = _COMMANDS[family]
    path = find_program(f"{command}-legacy-{tool}") if legacy else None
    path = path or find_program(f"{command}-{tool}")
    if path is None:
        raise CniError(
            UNSUPPORTED_FIELD,
            f"{command}-{tool} is not installed: install iptables, or use the nftables back end",
        )
    return path


def _run(argv: list[str], stdin: bytes) -> bytes:
    outcome = run_program(argv, stdin)
    if outcome.code:
        raise CniError(IO_FAILURE, f"{argv[0]} failed with {outcome.code}: {outcome.complaint}")
    return outcome.stdout


def _next_link(path: str) -> str | None:
    """Return what a symbolic link leads to, None if *path* is none."""
    try:
        target = posix.readlink(path)
    except OSError as error:
        if error.errno == EINVAL:
            return None
        raise
    return target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
