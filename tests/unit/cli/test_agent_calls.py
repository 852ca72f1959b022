"""A call to the agent's socket: frames, and every way in which an answer may fail to come."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podway.agent.calls import MAX_ANSWER_BYTES, AgentAway, AgentError, call_agent


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


@contextmanager
def agent(path: Path, answer: bytes, *, stall: bool = False) -> Iterator[list[bytes]]:
    """Serve one connection: read the request, send *answer*, close (or stall first)."""
    requests: list[bytes] = []
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            requests.append(connection.recv(65536))
            connection.sendall(answer)
            if stall:
                over.wait(10)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield requests
        finally:
            over.set()
            thread.join()


def test_a_call_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    answer = framed(json.dumps({"ok": True, "result": {"node": "n1"}}).encode())
    with agent(path, answer) as requests:
        assert call_agent(path, "ipam.release", {"address": "10.0.0.2"}) == {"node": "n1"}
    request = requests[0]
    assert int.from_bytes(request[:4], "big") == len(request) - 4
    assert json.loads(request[4:]) == {
        "call": "ipam.release",
        "arguments": {"address": "10.0.0.2"},
    }


def test_a_large_answer(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    result = {"peers": ["x" * 100] * 10_000}
    with agent(path, framed(json.dumps({"ok": True, "result": result}).encode())):
        assert call_agent(path, "status") == result


def test_the_agent_refuses(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with (
        agent(path, framed(b'{"ok": false, "error": "no such address"}')),
        pytest.raises(AgentError, match=r"^no such address$"),
    ):
        call_agent(path, "ipam.release", {"address": "x"})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"", AgentAway, id="closes at once"),
        pytest.param(b"\0\0", AgentAway, id="closes within the length"),
        pytest.param(framed(b"{}")[:-1], AgentAway, id="closes within the answer"),
        pytest.param((MAX_ANSWER_BYTES + 1).to_bytes(4, "big"), AgentAway, id="announces too much"),
        pytest.param(framed(b"HTTP/1.1 400"), AgentError, id="no JSON"),
        pytest.param(framed(b"[]"), AgentError, id="no object"),
        pytest.param(framed(b"{}"), AgentError, id="an object without a verdict"),
        pytest.param(framed(b'{"ok": true, "result": 1}'), AgentError, id="no object as result"),
    ],
)
def test_no_answer(tmp_path: Path, answer: bytes, error: type[Exception]) -> None:
    path = tmp_path / "agent.sock"
    with agent(path, answer), pytest.raises(error):
        call_agent(path, "status")


def test_an_agent_that_does_not_answer_in_time(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with agent(path, framed(b"{}")[:5], stall=True), pytest.raises(AgentAway, match="not answer"):
        call_agent(path, "status", timeout_s=0.05)


def leave_nothing(_path: Path) -> None:
    pass


def leave_a_dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("leave", [leave_nothing, leave_a_dead_socket])
def test_nobody_listens(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    leave(tmp_path / "agent.sock")
    with pytest.raises(AgentAway, match="no agent listens"):
        call_agent(tmp_path / "agent.sock", "status")
