"""``podway uninstall`` and what commands of the backend extension did."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from netns.cli.places import OURS, Place, kernel_of, put
from netns.conftest import Netns
from podway.agent import programs as programs_module
from podway.agent.ledger import Ledger
from podway.agent.programs import Programs
from podway.kernel.logs import get_log
from podway.model.programs import NODE, Command, Program

pytestmark = pytest.mark.root


class Operator:
    """Commands of an operator's, run by an agent that has ended since."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._log = place.state_dir.parent / "log"

    def command(self, word: str) -> Command:
        return ("sh", "-c", f"echo {word}=$SUBNET >> {self._log}")

    @property
    def log(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []

    def ran(self, *programs: Program) -> None:
        """Have them run by an agent, which then ends."""

        async def run(known: Programs) -> None:
            for program in programs:
                known.want(program.name, program)
            work = asyncio.create_task(known.run())
            async with asyncio.timeout(10):
                while not all(known.is_done(each.name) for each in programs):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            work.cancel()

        with closing(Ledger(self._place.state_dir / "agent.db")) as ledger:
            asyncio.run(run(Programs(ledger, get_log("test"))))
        self._log.unlink(missing_ok=True)

    def program(self, name: str, undo: Command | None = None) -> Program:
        word = name.rpartition("/")[2]
        return Program(
            name=name,
            do=self.command(f"+{word}"),
            undo=self.command(f"-{word}") if undo is None else undo,
            variables={"SUBNET": f"of-{word}"},
        )


@pytest.fixture
def operator(place: Place) -> Operator:
    return Operator(place)


def test_commands_are_undone_the_nodes_last(netns: Netns, place: Place, operator: Operator) -> None:
    operator.ran(*(operator.program(name) for name in (NODE, "peer/n2", "peer/n3")))
    left = ["program node", "program peer/n2", "program peer/n3"]
    assert place.answer(netns, "--verify") == (1, {"removed": [], "left": left})
    assert operator.log == [], "verify only looks"
    assert place.answer(netns) == (0, {"removed": left, "left": []})
    assert sorted(operator.log[:2]) == ["-n2=of-n2", "-n3=of-n3"]
    assert operator.log[2:] == ["-node=of-node"]
    assert place.answer(netns, "--verify")[0] == 0
    assert place.answer(netns)[0] == 0
    assert len(operator.log) == 3, "once"


def test_a_command_that_fails_is_told_and_tried_again(
    netns: Netns, place: Place, operator: Operator
) -> None:
    switch = place.state_dir.parent / "switch"
    fails = ("sh", "-c", f"test -e {switch} || {{ echo no way >&2; exit 3; }}")
    operator.ran(operator.program(NODE), operator.program("peer/n2", fails))
    with kernel_of(netns) as kernel:
        put(kernel, *OURS)
    code, answer = place.answer(netns)
    assert code == 1
    assert answer["left"] == [
        "program node",
        "program peer/n2: sh ended with status 3: no way",
    ]
    assert operator.log == [], "the node's end waits for its peers'"
    assert "link cni0" in answer["removed"], "all else went"
    switch.touch()
    assert place.answer(netns)[0] == 0
    assert operator.log == ["-node=of-node"]


def test_what_was_done_before_the_machine_started_is_gone_with_its_kernel(
    netns: Netns, place: Place, operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("another")
    monkeypatch.setattr(programs_module, "_BOOT_ID", other_boot)
    operator.ran(operator.program(NODE))
    assert place.answer(netns, "--verify")[0] == 0
    assert place.answer(netns)[0] == 0
    assert operator.log == []


def test_commands_without_an_undoing_leave_nothing_to_do(
    netns: Netns, place: Place, operator: Operator
) -> None:
    operator.ran(operator.program(NODE, ()))
    assert place.answer(netns, "--verify")[0] == 0


def test_a_ledger_that_cannot_be_read_is_told_and_the_kernel_is_cleared(
    netns: Netns, place: Place
) -> None:
    place.state_dir.mkdir()
    (place.state_dir / "agent.db").write_bytes(b"no database" * 100)
    with kernel_of(netns) as kernel:
        put(kernel, *OURS)
    for options in (["--verify"], []):
        code, answer = place.answer(netns, *options)
        assert code == 1
        assert "agent.db is damaged" in answer["left"][-1]
    assert len(answer["left"]) == 1
    assert "cni0" not in netns.ip("link", "show")
