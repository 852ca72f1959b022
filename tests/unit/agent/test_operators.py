"""The operators' socket: garbage, wrong calls, and what a node says of itself before it runs."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.nodes import Node, run
from podway.agent import operators
from podway.agent.calls import AgentAway, AgentError, call_agent
from podway.agent.operators import MAX_CALL_BYTES
from unit.agent.servers import converse, framed, open_descriptors, serving
from unit.agent.values import endpoint, held, key, subnets


async def ask(directory: Path, payload: bytes) -> dict[str, Any]:
    answer = await converse(directory / "agent.sock", framed(payload))
    assert int.from_bytes(answer[:4], "big") == len(answer) - 4
    document: dict[str, Any] = json.loads(answer[4:])
    return document


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        pytest.param(b"", "not a call", id="nothing"),
        pytest.param(b"\xff\xfe", "not a call", id="no text"),
        pytest.param(b"status", "not a call", id="no JSON"),
        pytest.param(b"[1]", "not a call", id="a list"),
        pytest.param(b"{}", "not a call", id="no name"),
        pytest.param(b'{"call": 7}', "not a call", id="a number"),
        pytest.param(b'{"call": "status", "arguments": []}', "not a call", id="wrong arguments"),
        pytest.param(b"[" * 60_000, "not a call", id="deep nesting"),
        pytest.param(b'{"call": "frob"}', "none of status, diff, ipam.show", id="no such call"),
        pytest.param(b'{"call": "diff"}', "no lease yet", id="diff of a node without a lease"),
        pytest.param(b'{"call": "ipam.release"}', "must be an IP address", id="no address"),
        pytest.param(
            b'{"call": "ipam.release", "arguments": {"address": {"a": 1}}}',
            "must be an IP address",
            id="an object for an address",
        ),
        pytest.param(
            b'{"call": "ipam.release", "arguments": {"address": "10.1.1.1"}}',
            "held by nobody",
            id="an address that nobody holds",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(
    tmp_path: Path, payload: bytes, says: str
) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            answer = await ask(tmp_path, payload)
            assert answer.keys() == {"ok", "error"}
            assert not answer["ok"]
            assert says in answer["error"]

    run(scenario)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\0", id="half a header"),
        pytest.param(framed(b'{"call": "status"}')[:-3], id="half a frame"),
        pytest.param((MAX_CALL_BYTES + 1).to_bytes(4, "big") + b"x", id="too much"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
    ],
)
def test_what_is_no_frame_is_not_answered(tmp_path: Path, sent: bytes) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            before = open_descriptors()
            assert await converse(tmp_path / "agent.sock", sent) == b""
            assert (await ask(tmp_path, b'{"call": "status"}'))["ok"]
            assert open_descriptors() == before

    run(scenario)


def test_a_slow_caller_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "CALL_S", 0.05)

    async def scenario() -> None:
        async with serving(tmp_path):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "agent.sock"))
            writer.write(b"\0\0\0")
            assert await reader.read() == b""
            writer.close()

    run(scenario)


def test_a_defect_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty: dict[str, str] = {}

    async def scenario() -> None:
        async with serving(tmp_path) as node:
            monkeypatch.setattr(node.agent, "preview", lambda: empty["nothing"])
            answer = await ask(tmp_path, b'{"call": "diff"}')
            assert "defect of the agent" in answer["error"]
            assert "KeyError" in answer["error"]

    run(scenario)


def test_the_status_of_a_node_that_has_just_started(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            status = (await ask(tmp_path, b'{"call": "status", "arguments": {}}'))["result"]
            assert (status["node"], status["ready"], status["backend"]) == ("a", False, None)
            assert "has not answered yet" in status["ready_reasons"][0]
            assert status["addresses"] == {"used": 0, "cooling": 0, "free": 0}
            assert status["store"]["state"] == "never"

    run(scenario)


# --- the address book ---------------------------------------------------------------------------


def given(node: Node, name: str, *addresses: str, netns: str = "") -> None:
    """Write down that *addresses* are held by *name*; with a *netns* the endpoint is known too."""
    item = endpoint(name, *addresses)
    node.ledger.add(item, "4:1", {})
    if netns:
        node.agent.endpoints.put(item, "4:1")


def test_show_lists_pools_and_addresses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as node:
            given(node, "c1", "10.244.1.9", "fd00:10:244:1::9", netns="x")
            given(node, "c2", "10.244.1.10")
            node.ledger.remove(key("c2"), 1.0)
            node.agent.ipam.set_subnets(subnets())
            shown = await asyncio.to_thread(call_agent, tmp_path / "agent.sock", "ipam.show")
            pools = {pool["subnet"]: pool for pool in shown["pools"]}
            assert pools["10.244.1.0/24"]["used"] == 1
            assert pools["10.244.1.0/24"]["free"] == 252
            assert pools["fd00:10:244:1::/64"]["free"] == 2**64 - 3
            rows = {row["address"]: row for row in shown["addresses"]}
            assert (rows["10.244.1.9"]["state"], rows["10.244.1.9"]["pod"]) == (
                "held",
                "default/c1",
            )
            assert rows["10.244.1.10"]["state"] == "released"
            status = await asyncio.to_thread(call_agent, tmp_path / "agent.sock", "status")
            assert status["addresses"]["free"] == 252 + 2**64 - 3

    run(scenario)


def test_check_names_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as node:
            given(node, "gone", "10.244.1.5", netns="x")
            given(node, "outside", "10.99.0.5", netns="x")
            given(node, "orphan", "10.244.1.6")
            node.agent.ipam.set_subnets(subnets())
            checked = await asyncio.to_thread(call_agent, tmp_path / "agent.sock", "ipam.check")
            problems = [(item["address"], item["problem"]) for item in checked["problems"]]
            gone = "held by net/gone/eth0, whose namespace /run/netns/gone is gone"
            assert ("10.244.1.5", gone) in problems
            assert {address for address, _ in problems} == {"10.244.1.5", "10.99.0.5", "10.244.1.6"}
            assert any("outside of this node's subnets" in text for _, text in problems)
            assert any("no endpoint" in text for _, text in problems)
            assert all(item["what_to_do"] for item in checked["problems"])

    run(scenario)


def test_an_orphan_is_released_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as node:
            given(node, "orphan", "10.244.1.6", "fd00:10:244:1::6")
            given(node, "other", "10.244.1.7")
            node.agent.ipam.set_subnets(subnets())
            path = tmp_path / "agent.sock"
            released = await asyncio.to_thread(
                call_agent, path, "ipam.release", {"address": "fd00:10:244:1::6"}
            )
            assert released["endpoint"] == "net/orphan/eth0"
            assert held(node.ledger) == {"10.244.1.7": "other"}
            assert {pool.used for pool in node.agent.ipam.pools.values()} == {1, 0}
            with pytest.raises(AgentError, match="held by nobody"):
                await asyncio.to_thread(call_agent, path, "ipam.release", {"address": "10.244.1.6"})

    run(scenario)


# --- the other end ------------------------------------------------------------------------------


@pytest.fixture
def answer_once(tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket], None]], Path]]:
    """Return a function that lets *behave* serve one connection on the socket it returns."""
    threads: list[threading.Thread] = []
    path = tmp_path / "other.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def start(behave: Callable[[socket.socket], None]) -> Path:
        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1 << 16)
                behave(client)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield start
    for thread in threads:
        thread.join()
    listener.close()


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        pytest.param(b"", AgentAway, "closed the connection", id="nothing"),
        pytest.param(framed(b'{"ok": true')[:-5], AgentAway, "closed", id="half a frame"),
        pytest.param(b"\xff\xff\xff\xff", AgentAway, "4294967295 bytes", id="four gigabytes"),
        pytest.param(framed(b"{}"), AgentError, "does not speak", id="no answer of an agent's"),
        pytest.param(framed(b"garbage"), AgentError, "does not speak", id="no JSON"),
        pytest.param(framed(b"[]"), AgentError, "does not speak", id="a list"),
        pytest.param(framed(b'{"ok": false, "error": "no"}'), AgentError, "no", id="refused"),
    ],
)
def test_a_caller_copes_with_what_answers(
    answer_once: Callable[[Callable[[socket.socket], None]], Path],
    answer: bytes,
    error: type[Exception],
    says: str,
) -> None:
    path = answer_once(lambda client: client.sendall(answer))
    with pytest.raises(error, match=says):
        call_agent(path, "status")


def test_a_caller_waits_only_so_long(
    answer_once: Callable[[Callable[[socket.socket], None]], Path],
) -> None:
    ended = threading.Event()
    path = answer_once(lambda _client: assert_ended(ended))
    with pytest.raises(AgentAway, match="does not answer"):
        call_agent(path, "status", timeout_s=0.05)
    ended.set()


def assert_ended(ended: threading.Event) -> None:
    assert ended.wait(20)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(AgentAway, match="no agent listens"):
        call_agent(tmp_path / "none.sock", "status")
