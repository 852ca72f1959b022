"""What etcd, or whatever stands in its place, may answer: each means something, none is fatal."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from hub.clients import PATIENCE_S, claim, until
from hub.hub_process import run_scenario
from podway.store.access import StoreAccess
from podway.store.etcd import EtcdStore
from podway.store.etcd_open import open_etcd
from podway.store.etcd_watch import EtcdOptions
from podway.store.protocol import Away, LeaseLost, Snapshot, StoreAway, StoreError
from podway.store.refusals import NotAllowed, StorageFailed
from store.etcd_process import QUICK

EMPTY = b'{"header":{"cluster_id":"1","revision":"5"}}'
CREATED = b'{"result":{"header":{"cluster_id":"1","revision":"5"},"created":true}}\n'


def stream_refusal(code: int) -> bytes:
    """As the gateway puts it when a stream (watch, keep-alive) is refused before its first word."""
    fault = {"grpc_code": code, "http_code": 503, "message": "because", "http_status": "No"}
    return json.dumps({"error": fault}).encode()


def refusal(code: int) -> bytes:
    return json.dumps({"error": "because", "message": "because", "code": code}).encode()


@contextlib.asynccontextmanager
async def answering(
    answers: dict[str, list[bytes]], options: EtcdOptions = QUICK, *, hold: bool = False
) -> AsyncIterator[EtcdStore]:
    """Serve the next of *answers*, by path (the last one for ever), and yield a store there.

    With *hold* connections stay, without a further word, until the client ends them.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        # Who asks may hang up at any time.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            left = answers[head.split()[1].decode()]
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()
            while hold and await reader.read(1 << 16):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    serving: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = open_etcd(f"etcd:http://127.0.0.1:{port}", StoreAccess(), options)
    try:
        yield store
    finally:
        await store.close()
        server.close()
        await asyncio.gather(*serving)


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"", StoreAway, id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", StoreAway, id="no HTTP"),
        pytest.param(http(EMPTY)[:-5], StoreAway, id="half an answer"),
        pytest.param(http(b'{"header":'), StoreAway, id="half a JSON"),
        pytest.param(http(b'{"kvs":[{"key":"%%%"}]}'), StoreAway, id="no base64"),
        pytest.param(http(b"[]"), StoreAway, id="another JSON"),
        pytest.param(http(b"404 page not found", 404), StoreAway, id="no gateway"),
        pytest.param(http(b"<html>", 502), StoreAway, id="a proxy"),
        pytest.param(http(b"{}", 500), StoreAway, id="an error without a code"),
        pytest.param(http(refusal(14), 503), StoreAway, id="no leader"),
        pytest.param(http(refusal(4), 504), StoreAway, id="timed out"),
        pytest.param(http(refusal(2), 500), StoreAway, id="unknown"),
        pytest.param(http(refusal(99), 500), StoreAway, id="a code to come"),
        pytest.param(http(refusal(7), 403), NotAllowed, id="permission denied"),
        pytest.param(http(refusal(8), 429), StorageFailed, id="no space left"),
        pytest.param(http(refusal(3), 400), StoreError, id="invalid"),
    ],
)
def test_answers_to_a_call(answer: bytes, error: type[StoreError]) -> None:
    async def scenario() -> None:
        async with answering({"/v3/kv/range": [answer]}) as store:
            with pytest.raises(error) as failure:
                await store.claim(claim("a", 1))
            assert type(failure.value) is not StoreAway or error is StoreAway

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        pytest.param(http(stream_refusal(14), 503), StoreAway, "because", id="no leader"),
        pytest.param(http(stream_refusal(7), 403), NotAllowed, "because", id="denied"),
        pytest.param(http(b'{"error":{}}', 503), StoreAway, "is that etcd", id="no code"),
        pytest.param(http(b'{"result":{"ID":"1","TTL":"0"}}'), LeaseLost, "ended", id="gone"),
    ],
)
def test_answers_to_a_renewal(answer: bytes, error: type[StoreError], told: str) -> None:
    async def scenario() -> None:
        held = http(
            b'{"header":{"cluster_id":"1","revision":"5"},"kvs":[{"key":"L2NvcmVvcy5jb20vbmV0d29y'
            b'ay9zdWJuZXRzLzEwLjkuNS4wLTI0","mod_revision":"5","lease":"7",'
            b'"value":"eyJQdWJsaWNJUCI6IjEuMi4zLjQifQ=="}]}'
        )
        answers = {"/v3/kv/range": [held], "/v3/lease/keepalive": [answer]}
        async with answering(answers) as store:
            with pytest.raises(error, match=told) as failure:
                await store.renew("10.9.5.0-24")
            assert type(failure.value) is error

    run_scenario(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http(CREATED), id="ends at once"),
        pytest.param(http(stream_refusal(14), 503), id="refused"),
        pytest.param(http(CREATED + b'{"result":{"events'), id="half an event"),
        pytest.param(http(CREATED + b"nonsense\n"), id="nonsense"),
        pytest.param(http(b'{"error":{"grpc_code":14,"message":"no leader"}}\n'), id="no leader"),
        pytest.param(http(refusal(7), 403), id="permission denied"),
        pytest.param(http(b'{"result":{"canceled":true}}\n'), id="cancelled"),
    ],
)
def test_answers_to_a_watch(answer: bytes) -> None:
    """The stream says that the store is away, and goes on trying."""

    async def scenario() -> None:
        answers = {"/v3/kv/range": [http(EMPTY)], "/v3/watch": [answer]}
        async with answering(answers) as store:
            events = store.watch()
            assert isinstance(await anext(events), Snapshot)
            async for event in events:
                if isinstance(event, Away):
                    break
            first = store.counts.requests
            await until(lambda: store.counts.requests >= first + 3)

    run_scenario(scenario)


def test_events_in_any_pieces() -> None:
    """A line may be cut anywhere, and several may come together."""
    key, value = (
        "L2NvcmVvcy5jb20vbmV0d29yay9zdWJuZXRzLzEwLjkuNS4wLTI0",
        "eyJQdWJsaWNJUCI6IjEuMi4zLjQifQ==",
    )
    event = json.dumps(
        {
            "result": {
                "header": {"cluster_id": "1", "revision": "6"},
                "events": [{"kv": {"key": key, "mod_revision": "6", "value": value}}],
            }
        }
    ).encode()
    head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
    text = CREATED + event + b"\n"
    pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)

    async def scenario() -> None:
        answers = {"/v3/kv/range": [http(EMPTY)], "/v3/watch": [head + body]}
        async with answering(answers) as store:
            heard: list[object] = []
            async for happened in store.watch():
                heard.append(happened)
                if isinstance(happened, Away):
                    break
            names = [change.name for delta in heard for change in getattr(delta, "changes", ())]
            assert names == ["10.9.5.0-24"]

    run_scenario(scenario)


def test_a_silent_watch_is_dead() -> None:
    """Something between holds the connection open, for ever, and has forgotten it."""
    head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
    created = b"%x\r\n%s\r\n" % (len(CREATED), CREATED)

    async def scenario() -> None:
        answers = {"/v3/kv/range": [http(EMPTY)], "/v3/watch": [head + created]}
        options = replace(QUICK, silence_s=0.2)
        async with answering(answers, options, hold=True) as store:
            events = store.watch()
            assert isinstance(await anext(events), Snapshot)
            async with asyncio.timeout(PATIENCE_S):
                async for event in events:
                    if isinstance(event, Away):
                        assert "silent" in event.reason
                        break

    run_scenario(scenario)
