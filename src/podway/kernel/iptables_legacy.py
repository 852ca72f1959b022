"""iptables-legacy: which of its tables are in use, and its program.

Its tables are in the kernel beside those of nftables, which does not see them, and every packet
passes both. To read or write them the program is needed. To ask it for a table makes that table, so
it is first asked of the kernel whether there is one.
"""

import errno
import shutil
import subprocess
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from podway.kernel.protocol import KernelError
from podway.netlink import entered

PROGRAMS = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}
_NAMES = {
    "ip": Path("/proc/thread-self/net/ip_tables_names"),
    "ip6": Path("/proc/thread-self/net/ip6_tables_names"),
}
_PROGRAM_S = 30.0
# Who holds the programs' lock (iptables -w) for longer is not waited for just to look.
_LOOK_S = 5


def tables_in_use(family: str, netns_fd: int | None) -> list[str]:
    """Return the names of the tables that *family* ("ip", "ip6") has."""
    with _inside(netns_fd):
        try:
            return _NAMES[family].read_text().split()
        except OSError:  # never used here, or not in this kernel
            return []


def is_installed(family: str) -> bool:
    """Tell whether the program is there."""
    return shutil.which(PROGRAMS[family]) is not None


def list_rules(family: str, table: str, netns_fd: int | None) -> list[str]:
    """Return the lines of ``iptables-legacy -S``; may wait some seconds for other programs.

    Raises:
        KernelError: the program failed.
    """
    words = ("-t", table, "-S")
    return run_legacy(family, *words, netns_fd=netns_fd, wait_s=_LOOK_S).splitlines()


def run_legacy(family: str, *words: str, netns_fd: int | None, wait_s: int | None = None) -> str:
    """Run the program with *words* and return what it printed.

    Args:
        family: "ip" or "ip6".
        words: its arguments.
        netns_fd: the namespace; None for the process's own.
        wait_s: how long to wait for another program that holds the lock; None: to the end.

    Raises:
        KernelError: it failed, or did not end.
    """
    argv = (PROGRAMS[family], "-w", *([] if wait_s is None else [str(wait_s)]), *words)
    try:
        with _inside(netns_fd):
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, timeout=_PROGRAM_S
            )
    except subprocess.TimeoutExpired as error:
        raise KernelError(errno.ETIMEDOUT, " ".join(argv), str(error)) from error
    if done.returncode:
        raise KernelError(errno.EIO, " ".join(argv), done.stderr.strip())
    return done.stdout


def _inside(netns_fd: int | None) -> AbstractContextManager[None]:
    return nullcontext() if netns_fd is None else entered(netns_fd)
