"""Runs an operator's own programs: the difference between what is wanted and what was done.

In: `Program`s that are wanted. Out: their commands, run; and a record of what was done, in the
node's ledger, so that an agent that starts anew neither repeats nor forgets. What was done before
the machine started is gone with its kernel, so the record bears the boot's id.

A peer's commands wait for the node's own, and the node's end waits for the peers' (`backlog` tells
whose turn it is). A command that fails or takes too long is tried again after a growing pause. None
is ever given to a shell, and none gets the agent's environment, which may hold secrets.
"""

import asyncio
import math
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from podway.agent.backlog import Backlog
from podway.agent.ledger import Ledger, LedgerError
from podway.errors import ConfigError, PodwayError
from podway.kernel.logs import Log
from podway.model.programs import Command, Program

TIMEOUT_S = 30.0
_RETRY_FIRST_S = 0.5
_RETRY_MAX_S = 60.0
_AT_ONCE = 4
_SHOWN_CHARS = 200
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_KIND = "program"
_encoder = msgspec.msgpack.Encoder()


class ProgramFailed(PodwayError):  # noqa: N818  (an answer, not an accident)
    """A command ended with another status than 0, took too long, or could not be started."""


class _Done(Struct, frozen=True):
    """A program that was run, and in which life of the machine."""

    boot_id: str
    program: Program


class Programs:
    """Keeps what is done equal to what is wanted.

    Args:
        ledger: remembers what was done.
        log: where failures are told, once for each.
        timeout_s: how long a command may take.

    Attributes:
        failures: by name of the program, why it was not done.
    """

    def __init__(self, ledger: Ledger, log: Log, timeout_s: float = TIMEOUT_S) -> None:
        self.failures: dict[str, str] = {}
        self._ledger = ledger
        self._log = log
        self._timeout_s = timeout_s
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._backlog = Backlog(self._recall())
        self._attempts: dict[str, int] = {}
        self._wake = asyncio.Event()

    # --- what is wanted -------------------------------------------------------------------------

    def want(self, name: str, program: Program | None) -> None:
        """Have *program* done, or whatever was done as *name* undone."""
        if not self._backlog.want(name, program):
            return
        self._attempts.pop(name, None)
        if self.is_done(name):
            self.failures.pop(name, None)  # there is nothing to do, and nothing to undo
        self._wake.set()

    def sweep(self, *, on: bool) -> None:
        """Undo what nobody wants from now on: before the first complete list nobody knows."""
        if on and not self._backlog.sweeping:
            self._wake.set()
        self._backlog.sweeping = on

    def is_done(self, name: str) -> bool:
        """Tell whether what is wanted as *name* is done."""
        return not self._backlog.differs(name)

    @property
    def done(self) -> dict[str, Program]:
        """What was done since this machine started, by name."""
        return self._backlog.all_done()

    # --- doing it -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work for ever."""
        while True:
            self._wake.clear()
            if names := self._backlog.due(_now()):
                await self._reconcile(names)
                continue
            # Not wait_for: in Python 3.11 it loses a cancellation that comes with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._backlog.next_due()):
                    await self._wake.wait()

    async def undo_all(self) -> None:
        """Undo everything, each thing once: the peers' first; the node's when none of them is left.

        What cannot be undone stays done, and is in `failures`.
        """
        self.sweep(on=True)
        while names := self._backlog.due(math.inf) - self.failures.keys():
            await self._reconcile(names)

    async def _reconcile(self, names: Iterable[str]) -> None:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(name: str) -> None:
            async with room:
                await self._mend(name)

        async with asyncio.TaskGroup() as tasks:
            for name in sorted(names):
                tasks.create_task(one(name))

    async def _mend(self, name: str) -> None:
        """Undo what was done as *name*, then do what is wanted."""
        if self.is_done(name):
            return  # what is wanted has changed back meanwhile
        wanted, done = self._backlog.wanted(name), self._backlog.done(name)
        try:
            if done is not None:
                await self._execute(done.undo, done)
                self._record(name, None)
            if wanted is not None:
                await self._execute(wanted.do, wanted)
                self._record(name, wanted)
        except ProgramFailed as error:
            self._postpone(name, error)
            return
        self._attempts.pop(name, None)
        self.failures.pop(name, None)

    def _postpone(self, name: str, error: ProgramFailed) -> None:
        if self.is_done(name):
            return  # nobody has wanted it since
        if self.failures.get(name) != str(error):
            self._log.warning("program failed", what=name, reason=str(error))
        self.failures[name] = str(error)
        attempts = self._attempts[name] = self._attempts.get(name, 0) + 1
        pause_s = min(_RETRY_FIRST_S * 2 ** min(attempts - 1, 16), _RETRY_MAX_S)
        self._backlog.postpone(name, _now() + pause_s)

    async def _execute(self, command: Command, program: Program) -> None:
        if command:
            await execute(command, program.variables, program.stdin, self._timeout_s)

    # --- what was done --------------------------------------------------------------------------

    def _record(self, name: str, program: Program | None) -> None:
        self._backlog.record(name, program)
        data = None if program is None else _encoder.encode(_Done(self._boot_id, program))
        try:
            self._ledger.remember([(_KIND, name, data)])
        except LedgerError as error:
            self._log.warning("program not remembered", what=name, reason=str(error))

    def _recall(self) -> dict[str, Program]:
        """Return what was done since this machine started."""
        found = {}
        for name, data in self._ledger.remembered(_KIND).items():
            try:
                done = msgspec.msgpack.decode(data, type=_Done)
            except msgspec.DecodeError as error:
                self._log.warning("not recalled", kind=_KIND, name=name, reason=str(error))
                continue
            if done.boot_id == self._boot_id:
                found[name] = done.program
        return found


class FirstProgram:
    """Runs the command whose output peers are told, once in the agent's life, until it succeeds.

    Args:
        log: where failures are told.
        changed: called when there is an output.
    """

    def __init__(self, log: Log, changed: Callable[[], None], timeout_s: float = TIMEOUT_S) -> None:
        self._log = log
        self._changed = changed
        self._timeout_s = timeout_s
        self._wanted: Command = ()
        self._outputs: dict[Command, str] = {(): ""}
        self._failure = ""
        self._wake = asyncio.Event()

    def output(self, command: Command) -> str:
        """Return what *command* printed.

        Raises:
            ConfigError: nothing yet; it is run, and the caller told when there is something.
        """
        if command not in self._outputs:
            self._wanted = command
            self._wake.set()
            rule = self._failure or "it has not ended yet"
            raise ConfigError("Backend.PreStartupCommand", " ".join(command), rule)
        return self._outputs[command]

    async def run(self) -> None:
        """Work for ever."""
        delay_s = _RETRY_FIRST_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            command = self._wanted
            try:
                self._outputs[command] = await execute(command, {}, "", self._timeout_s)
            except ProgramFailed as error:
                if self._failure != str(error):
                    self._log.warning("program failed", what="first", reason=str(error))
                self._failure = str(error)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RETRY_MAX_S)
            else:
                self._failure, delay_s = "", _RETRY_FIRST_S
            self._changed()


async def execute(
    command: Command, variables: Mapping[str, str], stdin: str, timeout_s: float
) -> str:
    """Run *command* to its end and return what it printed.

    Raises:
        ProgramFailed: it could not be started, failed, or was ended after *timeout_s*.
    """
    environment = {"PATH": os.environ.get("PATH") or os.defpath, **variables}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ProgramFailed(f"{command[0]} cannot be started: {error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate(stdin.encode())
    except TimeoutError as error:
        raise ProgramFailed(f"{command[0]} took more than {timeout_s:g} s and was ended") from error
    finally:
        if process.returncode is None:
            _end(process.pid)
            await process.wait()
    if process.returncode:
        said = stderr.decode("utf-8", "replace").strip()[-_SHOWN_CHARS:]
        raise ProgramFailed(f"{command[0]} ended with status {process.returncode}: {said}")
    return stdout.decode("utf-8", "replace").strip()


def _end(pid: int) -> None:
    """End a command and all that it started (it leads a session of its own)."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _now() -> float:
    return asyncio.get_running_loop().time()
