"""What an agent leaves outside of the kernel: commands with an undoing, files of its run directory.

In: the directories of an agent that has ended. Out: the names of what is there; and, on request, it
is gone. Called by ``podway uninstall``.

The commands are those of the backend ``extension`` (`podway.agent.programs`). What was run is known
from the agent's ledger alone, which only root can write; and only what was run since the machine
started is undone, for the rest is gone with its kernel. A socket on which somebody still listens
when its device is gone belongs to something that is not ours to end, and stays.
"""

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from podway.agent.ledger import Ledger, LedgerError
from podway.agent.places import AGENT_SOCKET, CNI_SOCKET, LEDGER
from podway.agent.programs import Programs
from podway.kernel.logs import get_log

# The relay of backend udp and wireguard-go end when their device does, but not at the same moment.
PATIENCE_S = 5.0
_FILES = (AGENT_SOCKET, CNI_SOCKET, "udp/*", "wireguard/*")
_DIRECTORIES = ("udp", "wireguard", ".")


class Remains:
    """What one agent has left.

    Args:
        run_dir: of its sockets.
        state_dir: of what it remembers.
    """

    def __init__(self, run_dir: Path, state_dir: Path) -> None:
        self._run_dir = run_dir
        self._ledger = state_dir / LEDGER
        self._failures: Mapping[str, str] = {}

    def find(self, *, ended: bool = True) -> dict[str, str]:
        """Return what there is, in words, and why it could not be removed ("" where untried).

        Without what commands did unless the agent has *ended*: until then its ledger is its own.
        """
        programs = self._find_programs() if ended else {}
        return programs | {f"file {path}": "" for path in self._find_files()}

    def undo_programs(self) -> None:
        """Run the commands that undo what the agent's commands did; `find` tells which failed."""
        if self._ledger.exists():
            with suppress(LedgerError), self._programs() as programs:
                asyncio.run(programs.undo_all())
                self._failures = programs.failures

    def remove_files(self) -> None:
        """Remove the files that nobody uses any more, and directories that held nothing else."""
        for path in self._find_files():
            if not path.is_socket() or has_ended(path):
                path.unlink(missing_ok=True)
        for name in _DIRECTORIES:
            with suppress(OSError):  # it is not there, or others have something in it
                (self._run_dir / name).resolve().rmdir()

    def _find_programs(self) -> dict[str, str]:
        if not self._ledger.exists():
            return {}
        try:
            with self._programs() as programs:
                names = sorted(name for name, done in programs.done.items() if done.undo)
        except LedgerError as error:
            return {"what commands of the backend extension did": str(error)}
        return {f"program {name}": self._failures.get(name, "") for name in names}

    @contextmanager
    def _programs(self) -> Iterator[Programs]:
        """Give what the ledger knows of commands. Raises `LedgerError`."""
        with closing(Ledger(self._ledger)) as ledger:
            yield Programs(ledger, get_log("podway.uninstall"))

    def _find_files(self) -> list[Path]:
        return sorted(path for pattern in _FILES for path in self._run_dir.glob(pattern))


def has_ended(path: Path, patience_s: float = PATIENCE_S) -> bool:
    """Tell whether nobody listens on the Unix socket *path*, or stops to within *patience_s*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(patience_s)
        try:
            probe.connect(str(path))
            return not probe.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True
