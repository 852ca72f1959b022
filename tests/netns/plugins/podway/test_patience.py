"""How long the podway plugin looks for an agent and waits for its answer: in this process."""

import errno
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netns.plugins.podway.agent import Agent
from podway.cni.errors import TRY_AGAIN_LATER, UNAVAILABLE, CniError
from podway.cni.frames import encode_response
from podway.plugins import podway

# Longer than any machine stalls; nobody waits that long unless something is broken.
LONG_S = 100.0


@pytest.mark.parametrize("stale", [False, True], ids=["no socket", "stale socket"])
def test_an_agent_that_comes_back_is_found(stale: bool, run_directory: Path) -> None:  # noqa: FBT001
    path = run_directory / "cni.sock"
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    found: list[object] = []
    seeker = threading.Thread(target=lambda: found.append(podway.connect(str(path), LONG_S)))
    seeker.start()
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.accept()[0].close()
        seeker.join()
    (link,) = found
    link.close()  # type: ignore[attr-defined]


def test_a_full_queue_is_waited_for(run_directory: Path) -> None:
    path = run_directory / "cni.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        waiting = [podway.connect(str(path), 0.0)]
        with pytest.raises(BlockingIOError) as caught:
            waiting.extend(podway.connect(str(path), 0.0) for _ in range(1000))
        assert caught.value.errno == errno.EAGAIN
        seeker = threading.Thread(target=lambda: waiting.append(podway.connect(str(path), LONG_S)))
        seeker.start()
        for _ in range(len(waiting) + 1):
            listener.accept()[0].close()
        seeker.join()
    for link in waiting:
        link.close()


def test_a_socket_out_of_reach_is_not_waited_for(run_directory: Path) -> None:
    (run_directory / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        podway.connect(str(run_directory / "file" / "cni.sock"), LONG_S)


def say_nothing(client: socket.socket) -> None:
    client.recv(1 << 16)
    client.recv(1)


def drip(client: socket.socket) -> None:
    """Announce a long answer, and send it so slowly that it never comes to an end."""
    client.recv(1 << 16)
    client.sendall(encode_response(0, "x" * 1_000_000)[:4])
    while True:
        client.sendall(b"x")
        time.sleep(0.01)


@pytest.mark.parametrize("behaviour", [say_nothing, drip])
@pytest.mark.parametrize(("command", "code"), [("GC", TRY_AGAIN_LATER), ("STATUS", UNAVAILABLE)])
def test_an_answer_that_never_comes(
    behaviour: Callable[[socket.socket], None],
    command: str,
    code: int,
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(podway, "ANSWER_DEADLINE_S", 0.2)
    agent.behaviour = behaviour
    config = json.dumps({"agentSocket": str(agent.path)}).encode()
    with pytest.raises(CniError) as caught:
        podway.ask_agent({"CNI_COMMAND": command}, config)
    assert caught.value.code == code
    assert str(agent.path) in caught.value.msg


def test_a_request_that_nobody_reads(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podway, "ANSWER_DEADLINE_S", 0.2)
    done = threading.Event()

    def read_nothing(_: socket.socket) -> None:
        done.wait()

    agent.behaviour = read_nothing
    padding = "x" * 1_000_000
    config = json.dumps({"agentSocket": str(agent.path), "padding": padding}).encode()
    try:
        with pytest.raises(CniError) as caught:
            podway.ask_agent({"CNI_COMMAND": "GC"}, config)
    finally:
        done.set()
    assert caught.value.code == TRY_AGAIN_LATER
