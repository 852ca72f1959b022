"""iptables by its programs: which there are, what a table holds, many changes in one go.

In: lines as iptables-save prints them. Out: the same, or a changed table. For plugins whose rules
other software expects in iptables. Starting a program costs about 2 ms, so everything goes into one
iptables-restore, which commits it whole or not at all.
Which kind of iptables they are: `iptables_kinds`.
"""

from podway.cni.errors import IO_FAILURE, UNSUPPORTED_FIELD, CniError
from podway.plugins.iptables_kinds import COMMANDS
from podway.plugins.programs import find_program, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

# How long to wait for another iptables; only the legacy kind has a lock.
_WAIT_S: "Final" = "10"


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


def _program(family: int, tool: str, *, legacy: bool) -> str:
    command = COMMANDS[family]
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
