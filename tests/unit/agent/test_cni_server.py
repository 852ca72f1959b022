"""The runtime's socket, whatever comes in over it: bounded, answered where it can be, and alive."""

import asyncio
import json
import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from agent.nodes import Answer, exchange, run, until
from podway.agent.cni_server import listen
from podway.cni.errors import (
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
)
from podway.cni.frames import MAX_REQUEST_BYTES, decode_response, encode_request
from podway.errors import ConfigError
from podway.kernel import frame_server
from unit.agent.servers import converse, framed, null_descriptor, open_descriptors, serving

CONFIG = json.dumps({"cniVersion": "1.0.0", "name": "net", "type": "podway"})
STATUS_CONFIG = json.dumps({"cniVersion": "1.1.0", "name": "net", "type": "podway"})


def request(command: str, config: str = CONFIG, **variables: str) -> bytes:
    environment = {"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin", **variables}
    if command in ("ADD", "DEL", "CHECK"):
        environment |= {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/x"}
    return encode_request(environment, config)


STATUS = request("STATUS", STATUS_CONFIG)


def answered(frame: bytes) -> Answer:
    exit_code, text = decode_response(frame[4:])
    return Answer(exit_code, json.loads(text) if text else {})


async def assert_alive(path: Path) -> None:
    assert (await exchange(path, STATUS)).code == UNAVAILABLE


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param(bytes(4), id="an empty frame"),
        pytest.param(b"\xff\xff\xff\xff", id="four gigabytes announced"),
        pytest.param((MAX_REQUEST_BYTES + 1).to_bytes(4, "big") + b"x" * 1000, id="too much"),
        pytest.param(framed(os.urandom(500)), id="random bytes in a frame"),
        pytest.param(framed(b"[" * 100_000), id="deep nesting"),
        pytest.param(framed(b'{"v":2,"env":{},"stdin":""}'), id="another version"),
        pytest.param(framed(b'{"v":1,"env":{"CNI_COMMAND":1},"stdin":""}'), id="a number"),
        pytest.param(framed(b'{"v":1,"env":[],"stdin":""}'), id="a list"),
        pytest.param(framed(b'{"v":1,"env":{}}'), id="no stdin"),
        pytest.param(STATUS[:50], id="half a frame"),
        pytest.param(STATUS[:3], id="half a header"),
    ],
)
def test_garbage_is_answered_and_hurts_nobody(tmp_path: Path, sent: bytes) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            answer = answered(await converse(tmp_path / "cni.sock", sent))
            assert (answer.exit_code, answer.code) == (1, IO_FAILURE)
            assert answer.document["msg"]
            await assert_alive(tmp_path / "cni.sock")

    run(scenario)


def test_who_says_nothing_gets_no_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            assert await converse(tmp_path / "cni.sock") == b""
            await assert_alive(tmp_path / "cni.sock")

    run(scenario)


def test_what_follows_a_frame_is_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            answer = answered(await converse(tmp_path / "cni.sock", STATUS + b"x" * 100_000))
            assert answer.code == UNAVAILABLE

    run(scenario)


def test_a_frame_may_come_in_pieces(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            pieces = [STATUS[at : at + 1] for at in range(len(STATUS))]
            assert answered(await converse(tmp_path / "cni.sock", *pieces)).code == UNAVAILABLE

    run(scenario)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(request("STATUS", "{}"), INVALID_CONFIG, id="no name"),
        pytest.param(request("FROB"), INVALID_ENVIRONMENT, id="no such command"),
        pytest.param(encode_request({}, CONFIG), INVALID_ENVIRONMENT, id="no command"),
        pytest.param(STATUS, UNAVAILABLE, id="STATUS of a node that has just started"),
    ],
)
def test_a_request_that_breaks_a_rule(tmp_path: Path, frame: bytes, code: int) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            answer = await exchange(tmp_path / "cni.sock", frame)
            assert (answer.exit_code, answer.code) == (1, code)

    run(scenario)


@pytest.mark.parametrize(
    ("command", "count", "code"),
    [
        ("ADD", 0, IO_FAILURE),
        ("ADD", 1, TRY_AGAIN_LATER),
        ("ADD", 2, IO_FAILURE),
        ("ADD", 4, IO_FAILURE),
        ("ADD", 200, IO_FAILURE),
        ("CHECK", 0, IO_FAILURE),
        ("DEL", 0, 0),
        ("DEL", 1, 0),
        ("DEL", 2, IO_FAILURE),
        ("STATUS", 1, IO_FAILURE),
    ],
)
def test_descriptors_are_counted_and_closed(
    tmp_path: Path, command: str, count: int, code: int
) -> None:
    """DEL succeeds on a node that has just started, because nothing of the name is attached."""

    async def scenario() -> None:
        async with serving(tmp_path):
            await assert_alive(tmp_path / "cni.sock")
            before = open_descriptors()
            frame = STATUS if command == "STATUS" else request(command)
            with null_descriptor() as null:
                answer = await exchange(tmp_path / "cni.sock", frame, [null] * count)
            assert answer.code == code
            await until(lambda: open_descriptors() == before)

    run(scenario)


def test_descriptors_of_many_messages_are_closed_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            before = open_descriptors()
            with socket.socket(socket.AF_UNIX) as client, null_descriptor() as null:
                client.connect(str(tmp_path / "cni.sock"))
                for byte in request("ADD")[:2]:
                    socket.send_fds(client, [bytes([byte])], [null] * 3)
                    await asyncio.sleep(0.001)
                client.setblocking(False)  # noqa: FBT003
                data = await asyncio.get_running_loop().sock_recv(client, 4096)
            assert answered(data).code == IO_FAILURE
            await until(lambda: open_descriptors() == before)

    run(scenario)


def test_a_slow_client_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_server, "REQUEST_S", 0.05)

    async def scenario() -> None:
        async with serving(tmp_path):
            before = open_descriptors()
            with socket.socket(socket.AF_UNIX) as client, null_descriptor() as null:
                client.connect(str(tmp_path / "cni.sock"))
                socket.send_fds(client, [STATUS[:10]], [null])
                client.setblocking(False)  # noqa: FBT003
                assert await asyncio.get_running_loop().sock_recv(client, 4096) == b""
            await until(lambda: open_descriptors() == before)
            await assert_alive(tmp_path / "cni.sock")

    run(scenario)


def test_a_client_that_does_not_wait_for_its_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            before = open_descriptors()
            for _ in range(20):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(tmp_path / "cni.sock"))
                    client.send(STATUS)
            await until(lambda: open_descriptors() == before)
            await assert_alive(tmp_path / "cni.sock")

    run(scenario)


def test_more_clients_than_it_takes_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_server, "MAX_CLIENTS", 3)

    async def scenario() -> None:
        async with serving(tmp_path):
            path = str(tmp_path / "cni.sock")
            silent = [await asyncio.open_unix_connection(path) for _ in range(3)]
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.read() == b""
            for _, each in (*silent, (reader, writer)):
                each.close()
                await each.wait_closed()

            async def is_served() -> bool:
                return len(await converse(tmp_path / "cni.sock", STATUS)) > 0

            while not await is_served():  # noqa: ASYNC110  until the ends of those three have been noticed
                await asyncio.sleep(0.001)

    run(scenario)


def test_out_of_descriptors_it_waits_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            await assert_alive(tmp_path / "cni.sock")
            _, most = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "cni.sock"))
                client.setblocking(False)  # noqa: FBT003
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() - 1, most))
                try:
                    await until(lambda: "client not accepted" in caplog.text)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(client, STATUS)
                assert answered(await loop.sock_recv(client, 4096)).code == UNAVAILABLE

    run(scenario)


# --- the socket itself --------------------------------------------------------------------------


def test_the_socket_is_root_s_and_goes_with_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("cni.sock", "agent.sock"):
            with socket.socket(socket.AF_UNIX) as old:
                old.bind(str(tmp_path / name))  # what a killed agent left
        async with serving(tmp_path):
            for name in ("cni.sock", "agent.sock"):
                assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
            await assert_alive(tmp_path / "cni.sock")

    run(scenario)
    assert not list(tmp_path.glob("*.sock"))


def test_a_directory_that_cannot_hold_a_socket(tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(ConfigError, match="--run-dir"):
        listen(tmp_path / ("x" * 120) / "cni.sock")
    assert open_descriptors() == before
