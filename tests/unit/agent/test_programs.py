"""Operators' programs: real commands, run once, undone, tried again, remembered."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podway.agent import programs as module
from podway.agent.ledger import Ledger
from podway.agent.programs import FirstProgram, ProgramFailed, Programs, execute
from podway.errors import ConfigError
from podway.kernel.logs import get_log
from podway.model.programs import NODE, Command, Program

LOG = get_log("test")
PATIENCE_S = 10


class World:
    """A directory in which commands leave their traces."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = Ledger(directory / "agent.db")
        self.programs = self.start()

    def start(self) -> Programs:
        return Programs(self.ledger, LOG)

    def write(self, word: str) -> Command:
        """Return a command that appends *word* to the log."""
        return ("sh", "-c", f"echo {word} >> {self.directory}/log")

    def program(self, name: str, **fields: object) -> Program:
        return Program(
            name=name,
            **{"do": self.write(f"+{name}"), "undo": self.write(f"-{name}"), **fields},  # type: ignore[arg-type]
        )

    @property
    def log(self) -> list[str]:
        path = self.directory / "log"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def run(world: World, *steps: Callable[[], Awaitable[None] | None]) -> None:
    """Let the programs run, and take *steps* beside them."""

    async def all_steps() -> None:
        work = asyncio.create_task(world.programs.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                for step in steps:
                    result = step()
                    if result is not None:
                        await result
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    asyncio.run(all_steps())


def until(condition: Callable[[], bool]) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        while not condition():  # noqa: ASYNC110  (the world is files)
            await asyncio.sleep(0.005)

    return wait


def want(world: World, *programs: Program) -> Callable[[], None]:
    def step() -> None:
        for program in programs:
            world.programs.want(program.name, program)

    return step


def test_what_is_wanted_is_done_once(world: World) -> None:
    program = world.program("peer/a")
    run(
        world,
        want(world, program),
        until(lambda: world.programs.is_done("peer/a")),
        want(world, program),
        lambda: asyncio.sleep(0.05),
    )
    assert world.log == ["+peer/a"]


def test_the_node_comes_first_and_goes_last(world: World) -> None:
    names = (NODE, "peer/a", "peer/b")

    def drop() -> None:
        for name in names:
            world.programs.want(name, None)

    run(
        world,
        lambda: world.programs.sweep(on=True),
        want(world, *map(world.program, reversed(names))),
        until(lambda: all(map(world.programs.is_done, names))),
        drop,
        until(lambda: len(world.log) == 6),
    )
    assert world.log[0] == f"+{NODE}"
    assert set(world.log[1:3]) == {"+peer/a", "+peer/b"}
    assert set(world.log[3:5]) == {"-peer/a", "-peer/b"}
    assert world.log[5] == f"-{NODE}"


def test_a_change_undoes_what_was_done_and_does_what_is_wanted(world: World) -> None:
    other = world.program("peer/a", do=world.write("other"))
    run(
        world,
        want(world, world.program("peer/a")),
        until(lambda: world.programs.is_done("peer/a")),
        want(world, other),
        until(lambda: world.programs.is_done("peer/a")),
    )
    assert world.log == ["+peer/a", "-peer/a", "other"]


def test_a_new_agent_neither_repeats_nor_forgets(world: World) -> None:
    kept, gone = world.program("peer/a"), world.program("peer/b")
    both = until(lambda: all(map(world.programs.is_done, ("peer/a", "peer/b"))))
    run(world, want(world, kept, gone), both)
    world.programs = world.start()
    run(
        world,
        want(world, kept),
        lambda: asyncio.sleep(0.05),
        lambda: world.programs.sweep(on=True),
        until(lambda: len(world.log) == 3),
    )
    assert sorted(world.log[:2]) == ["+peer/a", "+peer/b"]
    assert world.log[2:] == ["-peer/b"]


def test_nothing_is_undone_before_the_first_complete_list(world: World) -> None:
    run(
        world, want(world, world.program("peer/a")), until(lambda: world.programs.is_done("peer/a"))
    )
    world.programs = world.start()
    run(world, lambda: asyncio.sleep(0.05))
    assert world.log == ["+peer/a"]


def test_a_machine_that_was_started_anew_has_done_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = world.program("peer/a")
    run(world, want(world, program), until(lambda: world.programs.is_done("peer/a")))
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("another\n")
    monkeypatch.setattr(module, "_BOOT_ID", boot_id)
    world.programs = world.start()
    run(world, want(world, program), until(lambda: world.log == ["+peer/a"] * 2))


def test_a_command_that_fails_is_tried_again_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_FIRST_S", 0.01)
    marker = world.directory / "marker"
    script = f"echo try >> {world.directory}/log; echo not yet >&2; test -e {marker}"
    program = world.program("peer/a", do=("sh", "-c", script))
    run(
        world,
        want(world, program, world.program("peer/b")),
        until(lambda: world.log.count("try") >= 3),
        until(lambda: world.programs.is_done("peer/b")),
        marker.touch,
        until(lambda: world.programs.is_done("peer/a")),
    )
    assert world.programs.failures == {}


def test_why_it_failed_is_kept(world: World) -> None:
    program = world.program("peer/a", do=("sh", "-c", "echo no such table >&2; exit 3"))
    run(world, want(world, program), until(lambda: bool(world.programs.failures)))
    assert world.programs.failures == {"peer/a": "sh ended with status 3: no such table"}


def test_nothing_to_run_is_done_at_once(world: World) -> None:
    run(
        world,
        want(world, Program(name="peer/a")),
        until(lambda: world.programs.is_done("peer/a")),
    )


# --- one command --------------------------------------------------------------------------------


def test_arguments_reach_the_program_as_they_are() -> None:
    command = ("printf", "%s\\n", "a b", "$HOME", "`id`", "; exit 1", "")
    assert asyncio.run(execute(command, {}, "", PATIENCE_S)).split("\n") == [
        "a b",
        "$HOME",
        "`id`",
        "; exit 1",
    ]


def test_a_program_sees_its_variables_and_no_secret_of_the_agents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PODWAY_ETCD_PASSWORD", "hunter2")
    text = asyncio.run(execute(("env",), {"SUBNET": "10.244.2.0/24"}, "", PATIENCE_S))
    assert dict(line.split("=", 1) for line in text.splitlines()).keys() == {"PATH", "SUBNET"}
    assert "hunter2" not in text


def test_a_program_reads_what_the_peer_said() -> None:
    said = json.dumps({"key": "ü"})
    assert asyncio.run(execute(("cat",), {}, said, PATIENCE_S)) == said


def test_a_program_that_does_not_read_is_no_failure() -> None:
    assert asyncio.run(execute(("true",), {}, "x" * (1 << 20), PATIENCE_S)) == ""


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {pid_file}; wait"
    with pytest.raises(ProgramFailed):
        asyncio.run(execute(("sh", "-c", script), {}, "", 0.2))
    assert has_ended(int(pid_file.read_text()))


def has_ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in {"Z", "X"}


def test_an_agent_that_ends_ends_its_commands(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    async def cancelled() -> None:
        script = f"echo $$ > {pid_file}; exec sleep 1000"
        task = asyncio.create_task(execute(("sh", "-c", script), {}, "", PATIENCE_S))
        while not (pid_file.exists() and pid_file.read_text()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    assert has_ended(int(pid_file.read_text()))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("/nonexistent",), id="not there"),
        pytest.param(("/etc/passwd",), id="no program"),
        pytest.param(("false",), id="fails"),
    ],
)
def test_what_cannot_be_run_fails(command: Command) -> None:
    with pytest.raises(ProgramFailed) as caught:
        asyncio.run(execute(command, {}, "", PATIENCE_S))
    assert command[0] in str(caught.value)


# --- the first command --------------------------------------------------------------------------


def test_the_first_command_runs_until_it_succeeds_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_FIRST_S", 0.01)
    script = f"echo x >> {tmp_path}/log; test $(wc -l < {tmp_path}/log) -ge 3 && echo ' said '"
    command = ("sh", "-c", script)

    async def ask() -> str:
        told = asyncio.Event()
        first = FirstProgram(LOG, told.set)
        work = asyncio.create_task(first.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        said = first.output(command)
                    except ConfigError:
                        await told.wait()
                        told.clear()
                    else:
                        assert first.output(command) == said
                        return said
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    assert asyncio.run(ask()) == "said"
    assert (tmp_path / "log").read_text() == "x\n" * 3


def test_no_first_command_says_nothing() -> None:
    async def ask() -> str:
        return FirstProgram(LOG, lambda: None).output(())

    assert asyncio.run(ask()) == ""


def test_the_ledger_is_for_root_alone(world: World) -> None:
    run(world, want(world, world.program("peer/a", stdin="secret")), until(lambda: bool(world.log)))
    assert world.ledger.path.stat().st_mode & 0o077 == 0


def test_a_failure_of_what_nobody_wants_any_more_is_none(world: World) -> None:
    """A peer whose program failed leaves the cluster: the node is as ready as without it."""
    lost = world.program("peer c", do=("false",))
    kept = world.program("peer d", undo=("false",))

    def forget(*names: str) -> Callable[[], None]:
        def step() -> None:
            for name in names:
                world.programs.want(name, None)

        return step

    world.programs.sweep(on=True)
    run(
        world,
        want(world, lost, kept),
        until(lambda: "peer c" in world.programs.failures and world.log == ["+peer", "d"]),
        forget("peer c", "peer d"),
        until(lambda: "peer d" in world.programs.failures),
    )
    assert set(world.programs.failures) == {"peer d"}, "its undoing failed"
