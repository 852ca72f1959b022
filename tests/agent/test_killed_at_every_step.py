"""The agent is killed at each step of ADD and of DEL in turn; its next life makes that good.

A step is a system call that changes what others see, or what a later life reads: a write to the
ledger, a request to the kernel, an answer. A first call is recorded by strace; then each step is a
point, at which the agent of a further call is killed, before the kernel does it. How manieth call
of its name a step is, strace counts for each thread, so the first thread that gets so far dies.

What is killed at random moments, with many calls under way, is in `test_random_kills`.
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent.nodes import Answer
from agent.real_nodes import DUAL, RealNode, pods, real_cluster, wait_until
from netns.conftest import Netns

pytestmark = pytest.mark.root

STEPS = "sendto,pwrite64,fdatasync,setns,write"
LAST_WORDS_S = 0.2
_CALL = re.compile(r"^(\d+) +([a-z0-9_]+)\(")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("attach", ["bridge", "routed"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_every_step(command: str, attach: str) -> None:
    with real_cluster(DUAL) as (_, (node,)), pods(2) as (pod, other):
        _start(node)
        _attach_and_detach(node, pod, attach)
        clean = _state(node)
        points = _record(node, command, pod, attach)
        assert {name for name, _ in points} >= {"sendto", "pwrite64", "fdatasync"}
        killed = 0
        for name, ordinal in points:
            before = node.ask("ADD", "c1", pod, attach=attach) if command == "DEL" else None
            inject = f"--inject={name}:signal=KILL:when={ordinal}"
            with _traced(node, "-o", "/dev/null", inject):
                answer = node.ask(command, "c1", pod, attach=attach)
            killed += node.is_dead()
            node.end()
            _start(node)
            _check_kept(node, pod, attach, answer if command == "ADD" else None)
            _check_given_once(node, pod, other, attach, before)
            for container, space in (("c1", pod), ("c2", other)):
                assert node.ask("DEL", container, space).code == 0, (name, ordinal, node.log)
            wait_until(lambda: _state(node) == clean, lambda: (clean, _state(node), node.log))
            assert [_ifnames(space) for space in (pod, other)] == [{"lo"}, {"lo"}], (name, ordinal)
        assert killed > len(points) * 2 // 3, f"only {killed} of {len(points)} calls were killed"


def _check_kept(node: RealNode, pod: Netns, attach: str, answer: Answer | None) -> None:
    """What the runtime was told before the kill still holds."""
    if answer is not None and answer.code == 0:
        assert node.ask("ADD", "c1", pod, attach=attach).document == answer.document
        assert _addresses(pod) == _bare(answer)


def _check_given_once(
    node: RealNode, pod: Netns, other: Netns, attach: str, before: Answer | None
) -> None:
    """Another pod gets no address that the first one has, or may have: its DEL has not ended."""
    held = {row["address"] for row in node.call("ipam.show")["addresses"] if row["state"] == "held"}
    taken = _addresses(pod)
    assert taken <= held, "an address is in a pod, and free"
    assert before is None or taken <= _bare(before)
    answer = node.ask("ADD", "c2", other, attach=attach)
    assert answer.code == 0, (answer, node.log)
    assert not _bare(answer) & (taken | held)


def _attach_and_detach(node: RealNode, pod: Netns, attach: str) -> None:
    assert node.ask("ADD", "c1", pod, attach=attach).code == 0
    assert node.ask("DEL", "c1", pod).code == 0


def _record(node: RealNode, command: str, pod: Netns, attach: str) -> list[tuple[str, int]]:
    """Return the steps of one call: names, and how manieth of its name; undo what it did."""
    if command == "DEL":
        assert node.ask("ADD", "c1", pod, attach=attach).code == 0
    trace = node.directory / "trace"
    with _traced(node, "-o", str(trace)):
        assert node.ask(command, "c1", pod, attach=attach).code == 0
    assert node.ask("DEL", "c1", pod).code == 0
    return _points(trace)


def _points(trace: Path) -> list[tuple[str, int]]:
    calls = (_CALL.match(line) for line in trace.read_text(errors="replace").splitlines())
    counts = Counter((call[1], call[2]) for call in calls if call is not None)
    most: Counter[str] = Counter()
    for (_, name), count in counts.items():
        most[name] = max(most[name], count)
    return [
        (name, ordinal)
        for name, count in sorted(most.items())
        for ordinal in range(1, count + 1)
        # Of a transaction's many writes none counts before the last one.
        if name != "pwrite64" or ordinal in {1, count - 1, count}
    ]


@contextmanager
def _traced(node: RealNode, *options: str) -> Iterator[None]:
    """Have strace look at the agent and its threads while the body runs."""
    argv = ["strace", "-f", "-e", f"trace={STEPS}", "-p", str(node.pid), *options]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        try:
            yield
            strace.terminate()  # one that records writes down what it has
            with suppress(subprocess.TimeoutExpired):
                strace.wait(LAST_WORDS_S)
        finally:
            # It may wait for ever for the threads of an agent that was killed.
            strace.kill()


def _start(node: RealNode) -> None:
    node.start()
    node.ready()


def _state(node: RealNode) -> object:
    """Return what must be the same whenever no pod is attached."""
    return (
        [link["ifname"] for link in node.ip("link")],
        node.our_routes(),
        node.status()["addresses"]["used"],
    )


def _ifnames(space: Netns) -> set[str]:
    return {link["ifname"] for link in json.loads(space.ip("-j", "link"))}


def _bare(answer: Answer) -> set[str]:
    return {address.split("/")[0] for address in answer.addresses}


def _addresses(space: Netns) -> set[str]:
    links = json.loads(space.ip("-j", "address"))
    return {
        str(item["local"])
        for link in links
        if link["ifname"] != "lo"
        for item in link["addr_info"]
        if item["scope"] == "global"
    }
