"""``podway uninstall`` in a namespace that holds podway's objects and somebody else's."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Interface, IPv4Network, ip_address
from pathlib import Path

import pytest

from kernel_features import why_missing
from netns.conftest import Netns
from netns.udp.worlds import inside
from podway.agent import programs as programs_module
from podway.agent.ledger import Ledger
from podway.agent.main import only_one
from podway.agent.places import LEDGER
from podway.agent.programs import Programs
from podway.cli.remains import has_ended
from podway.diff.operations import Operation, Verb
from podway.kernel.logs import get_log
from podway.kernel.node import NodeKernel
from podway.kernel.wireguard_process import PROGRAM
from podway.model.instances import DEFAULT_INSTANCE, instance_of
from podway.model.kernel import (
    Address,
    Bridge,
    KernelObject,
    Link,
    NftTable,
    Route,
    Tun,
    UdpRelay,
    Wireguard,
)
from podway.model.programs import NODE, Command, Program

pytestmark = pytest.mark.root

BLUE = instance_of("blue")
OURS: tuple[KernelObject, ...] = (
    Link(name="cni0", kind=Bridge(), alias="podway:bridge"),
    Address("cni0", IPv4Interface("10.244.1.1/24")),
    Route(dst=IPv4Network("10.244.2.0/24"), kind="unreachable", metric=1),
    NftTable("inet", "podway", "chain forward {\n}\n"),
)


@contextmanager
def kernel_of(
    netns: Netns, run_dir: Path = Path("/nonexistent"), instance: str = ""
) -> Iterator[NodeKernel]:
    key = run_dir / "wireguard.key"
    marks = instance_of(instance).marks
    with closing(NodeKernel(netns.fd, run_dir=run_dir, wireguard_key=key, marks=marks)) as kernel:
        yield kernel


def put(kernel: NodeKernel, *objects: KernelObject) -> None:
    operations = [Operation(Verb.CREATE, item.key, item) for item in objects]
    assert kernel.apply(operations) == [None] * len(operations)


@pytest.fixture
def place(tmp_path: Path) -> "Place":
    return Place(tmp_path)


class Place:
    """The directories of an agent."""

    def __init__(self, directory: Path) -> None:
        self.run_dir, self.state_dir = directory / "run", directory / "state"

    def uninstall(self, netns: Netns, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-m", "podway.cli", "uninstall"]
        command += [f"--run-dir={self.run_dir}", f"--state-dir={self.state_dir}", *options]
        inside = ["nsenter", f"--net={netns.path}", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False)

    def answer(self, netns: Netns, *options: str) -> tuple[int, dict[str, list[str]]]:
        done = self.uninstall(netns, "--json", *options)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def test_verify_lists_what_is_left_and_touches_nothing(netns: Netns, place: Place) -> None:
    with kernel_of(netns) as kernel:
        put(kernel, *OURS)
    for _ in range(2):
        code, answer = place.answer(netns, "--verify")
        assert code == 1
        assert answer["removed"] == []
        # The address goes with its device and is no step of its own.
        assert answer["left"] == ["nft inet podway", "route 2 254 10.244.2.0/24 1", "link cni0"]
    assert not place.run_dir.exists()
    assert not place.state_dir.exists()


def test_everything_of_ours_goes_and_nothing_else(netns: Netns, place: Place) -> None:
    netns.ip("link", "add", "theirs", "type", "bridge")
    netns.ip("route", "add", "unreachable", "198.51.100.0/24", "metric", "7")
    netns.exec("nft", "add", "table", "inet", "theirs")
    with kernel_of(netns) as kernel:
        put(kernel, *OURS)
    code, answer = place.answer(netns)
    assert (code, answer["left"]) == (0, [])
    assert place.answer(netns, "--verify") == (0, {"removed": [], "left": []})
    assert "theirs" in netns.ip("link", "show")
    assert "cni0" not in netns.ip("link", "show")
    assert netns.ip("route", "show").split() == ["unreachable", "198.51.100.0/24", "metric", "7"]
    assert netns.exec("nft", "list", "tables").split() == ["table", "inet", "theirs"]


def test_a_node_that_serves_pods_is_left_alone_unless_told(netns: Netns, place: Place) -> None:
    netns.ip("link", "add", "pw0123456789a", "type", "veth", "peer", "name", "pod")
    netns.ip("link", "set", "pw0123456789a", "alias", "podway:pod ns/p")
    done = place.uninstall(netns)
    assert done.returncode == 1
    assert "drain the node" in done.stderr
    assert "pw0123456789a" in netns.ip("link", "show")
    assert place.answer(netns, "--pods")[0] == 0
    assert "pw0123456789a" not in netns.ip("link", "show")


def test_a_node_whose_agent_runs_is_left_alone(netns: Netns, place: Place) -> None:
    with ExitStack() as agents, kernel_of(netns) as kernel:
        put(kernel, *OURS)
        # A socket of the namespace in which it was made: as if an agent ran there.
        inside(netns, lambda: agents.enter_context(only_one(DEFAULT_INSTANCE)))
        done = place.uninstall(netns, "--pods")
        assert done.returncode == 1
        assert "stop it first" in done.stderr
        place.state_dir.mkdir()
        with closing(Ledger(place.state_dir / LEDGER)):
            left = place.answer(netns, "--verify")[1]["left"]
        assert left[0] == "agent: it runs"
        assert {each.split()[0] for each in left[1:]} == {"nft", "route", "link"}
        assert "cni0" in netns.ip("link", "show")
        assert place.answer(netns, "--instance=blue") == (0, {"removed": [], "left": []})
    assert place.answer(netns)[0] == 0


# --- processes and sockets ------------------------------------------------------------------------


def relay(netns: Netns, place: Place, instance: str = "") -> Path:
    """Start a relay as the agent of *instance* does; return its socket."""
    names = instance_of(instance)
    dev, port = f"{names.prefix}0", 8285 if not instance else 8286
    link = Link(name=dev, kind=Tun(), mtu=1472, alias=f"{names.marks.alias}udp")
    config = UdpRelay(dev=dev, port=port, addresses=(ip_address("127.0.0.1"),), subnets=())
    with kernel_of(netns, place.run_dir, instance) as kernel:
        put(kernel, link, config)
    return place.run_dir / "udp" / f"{dev}.sock"


def wireguard(netns: Netns, place: Place, instance: str = "") -> Path:
    """Start wireguard-go as the agent of *instance* does; return its socket."""
    names = instance_of(instance)
    dev = f"{names.prefix}-wg"
    link = Link(name=dev, kind=Wireguard(), mtu=1420, alias=names.marks.wireguard)
    with kernel_of(netns, place.run_dir, instance) as kernel:
        put(kernel, link)
    return place.run_dir / "wireguard" / f"{dev}.sock"


STARTS = (
    pytest.param(relay, id="udp"),
    pytest.param(
        wireguard,
        id="wireguard",
        marks=pytest.mark.skipif(
            why_missing("wireguard") is None or shutil.which(PROGRAM) is None,
            reason="wireguard is the kernel's here, or there is no wireguard-go",
        ),
    ),
)


@pytest.mark.parametrize("start", STARTS)
def test_processes_and_their_files_go_and_those_of_another_instance_stay(
    netns: Netns, tmp_path: Path, start: Callable[..., Path]
) -> None:
    place, blue = Place(tmp_path / "one"), Place(tmp_path / "blue")
    mine, theirs = start(netns, place), start(netns, blue, "blue")
    assert not has_ended(mine, 0.01)
    assert f"file {mine}" in place.answer(netns, "--verify")[1]["left"]
    code, answer = place.answer(netns)
    assert (code, answer["left"]) == (0, [])
    assert f"file {mine}" in answer["removed"]
    assert has_ended(mine)
    assert not place.run_dir.exists()
    assert not has_ended(theirs, 0.01)
    assert f"{BLUE.prefix}" in netns.ip("link", "show")
    assert place.answer(netns, "--verify")[0] == 0
    assert blue.answer(netns, "--instance=blue")[0] == 0
    assert has_ended(theirs)
    assert not blue.run_dir.exists()


def test_a_socket_whose_device_went_before_is_noticed_and_goes(netns: Netns, place: Place) -> None:
    path = relay(netns, place)
    netns.ip("link", "delete", "podway0")
    assert has_ended(path)
    left = [f"file {path}"]
    assert place.answer(netns, "--verify") == (1, {"removed": [], "left": left})
    assert place.answer(netns) == (0, {"removed": left, "left": []})


def test_what_others_have_in_the_run_directory_stays(netns: Netns, place: Place) -> None:
    relay(netns, place)
    (place.run_dir / "hub.sock").touch()
    (place.run_dir / "lab").mkdir()
    assert place.answer(netns)[0] == 0
    assert sorted(each.name for each in place.run_dir.iterdir()) == ["hub.sock", "lab"]


def test_when_a_socket_is_nobodys_any_more(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert not has_ended(path, 0.01)
        # Its process is killed while it is asked.
        child = os.fork()
        if not child:
            listener.accept()
            os._exit(0)
    assert has_ended(path, 10)
    os.waitpid(child, 0)
    assert has_ended(path, 0.01), "a stale socket"
    assert has_ended(tmp_path / "none", 0.01)


# --- commands of the backend extension ------------------------------------------------------------


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
