"""Garbage, oversized, slow and silent clients: each is told why, dropped, and harms nobody else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from hub.clients import RawClient, claim, next_event, until
from hub.hub_process import HOST_GW, RunningHub, run_scenario, running_hub
from podway.hub.limits import Limits
from podway.store.frames import (
    Done,
    Failure,
    Get,
    Goodbye,
    Hello,
    List,
    Listing,
    Ping,
    Put,
    SnapshotEnd,
    Watch,
    Welcome,
)
from podway.store.protocol import Delta, Snapshot
from podway.store.wire import (
    HELLO_MAX_BYTES,
    REQUEST_MAX_BYTES,
    encode_frame,
)

QUICK_LIMITS = Limits(handshake_s=0.3, frame_s=0.3, stall_s=0.5, linger_s=0.2, heartbeat_s=5.0)


@contextlib.asynccontextmanager
async def hub_with_a_friend(limits: Limits = QUICK_LIMITS) -> AsyncIterator[RunningHub]:
    """A hub with a well-behaved watcher, who must notice nothing of what happens."""
    async with running_hub(limits=limits, net_conf=HOST_GW | {"Network": "10.0.0.0/8"}) as hub:
        store = hub.open_store()
        events = store.watch()
        await next_event(events, Snapshot)
        yield hub
        await store.claim(claim("friend", 1))
        assert isinstance(await anext(events), Delta)
        await store.close()


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", "GET / HTTP", id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "podway's", id="TLS"),
        pytest.param(b"\xff" * 64, "4294967295 bytes", id="longest frame"),
        pytest.param(framed(b""), "cannot be read", id="empty frame"),
        pytest.param(framed(b"\xc1\xc1\xc1"), "cannot be read", id="no msgpack"),
        pytest.param(framed(b"\x93\x01\x02\x03"), "cannot be read", id="no map"),
        pytest.param(framed(b"\x91" * 4000), "cannot be read", id="deeply nested"),
        pytest.param(
            framed(msgspec.msgpack.encode({"t": "welcome"})), "cannot be read", id="hub's frame"
        ),
        pytest.param(
            framed(msgspec.msgpack.encode({"t": "list", "id": 1, "kind": "node"})),
            "must be a hello",
            id="no hello",
        ),
        pytest.param(
            framed(msgspec.msgpack.encode({"t": "hello", "version": 99})),
            "protocol version 99",
            id="newer version",
        ),
        pytest.param((HELLO_MAX_BYTES + 1).to_bytes(4, "big"), "at most 4096", id="huge hello"),
    ],
)
def test_garbage_before_the_hello(data: bytes, words: str) -> None:
    async def scenario() -> None:
        async with hub_with_a_friend() as hub:
            client = await RawClient.connect(hub.url, hello=False)
            client.send_bytes(data)
            goodbye = await client.receive_goodbye()
            assert goodbye.code == "protocol"
            assert words in goodbye.message
            await client.receive_end()
            client.close()

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"\xff" * 64, "at most", id="longest frame"),
        pytest.param((REQUEST_MAX_BYTES + 1).to_bytes(4, "big"), "at most", id="a byte too long"),
        pytest.param(framed(b"\x00"), "cannot be read", id="no map"),
        pytest.param(
            framed(msgspec.msgpack.encode({"t": "hello", "version": 1})), "twice", id="second hello"
        ),
        pytest.param(
            framed(msgspec.msgpack.encode({"t": "watch", "id": 1})) * 2, "twice", id="second watch"
        ),
        pytest.param(
            framed(msgspec.msgpack.encode({"t": "renew", "id": "x", "name": "a"})),
            "cannot be read",
            id="wrong type",
        ),
    ],
)
def test_garbage_after_the_hello(data: bytes, words: str) -> None:
    async def scenario() -> None:
        async with hub_with_a_friend() as hub:
            client = await RawClient.connect(hub.url)
            client.send_bytes(data)
            assert words in (await client.receive_goodbye()).message
            await client.receive_end()
            client.close()

    run_scenario(scenario)


def test_the_last_words_arrive_although_the_client_goes_on_sending() -> None:
    """Closing with unread input would reset the connection and destroy them."""

    async def scenario() -> None:
        async with running_hub(tcp=True) as hub:
            for _ in range(5):
                client = await RawClient.connect(hub.tcp_url)
                client.send_bytes(b"\xff" * (16 << 20))
                await asyncio.sleep(0.02)  # a reset would have arrived by now
                assert "at most" in (await client.receive_goodbye()).message
                client.close()

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("hello", "data", "words"),
    [
        pytest.param(False, b"", "no complete hello", id="silent from the start"),
        pytest.param(False, b"\0\0", "no complete hello", id="half a header"),
        pytest.param(False, b"\0\0\0\x40abc", "no complete hello", id="half a hello"),
        pytest.param(True, b"\0\0\0\x40abc", "not complete after", id="half a request"),
    ],
)
def test_slow_senders(hello: bool, data: bytes, words: str) -> None:  # noqa: FBT001
    async def scenario() -> None:
        async with hub_with_a_friend() as hub:
            client = await RawClient.connect(hub.url, hello=hello)
            client.send_bytes(data)
            assert words in (await client.receive_goodbye()).message
            client.close()

    run_scenario(scenario)


def test_a_byte_now_and_then_does_not_help() -> None:
    """Slow loris: the time for a frame counts from its first byte."""

    async def drip(client: RawClient) -> None:
        for byte in framed(b"x" * 1000):
            client.send_bytes(bytes([byte]))
            await asyncio.sleep(0.02)

    async def scenario() -> None:
        async with hub_with_a_friend() as hub:
            client = await RawClient.connect(hub.url)
            dripping = asyncio.create_task(drip(client))
            assert "not complete after" in (await client.receive_goodbye()).message
            dripping.cancel()
            client.close()

    run_scenario(scenario)


def test_many_frames_that_are_each_quick_are_fine() -> None:
    """The time for a frame starts anew with each, also when the next has begun already."""

    async def scenario() -> None:
        async with running_hub() as hub:
            client = await RawClient.connect(hub.url)
            (session,) = hub.server.sessions
            loop = asyncio.get_running_loop()
            ping = framed(msgspec.msgpack.encode({"t": "ping"}))
            for number in range(10):
                began_s = loop.time()
                client.send(Get(id=number, kind="k", name="n"))
                client.send_bytes(ping[:2])
                assert isinstance(await client.receive(), Done)
                await until(lambda: session._splitter.unfinished)
                assert session._times.frame_since_s is not None
                assert session._times.frame_since_s >= began_s
                client.send_bytes(ping[2:])
            await until(lambda: session._times.frame_since_s is None)
            client.close()

    run_scenario(scenario)


def test_a_client_that_falls_silent() -> None:
    async def scenario() -> None:
        limits = Limits(heartbeat_s=0.1, linger_s=0.2)
        async with running_hub(limits=limits) as hub:
            client = await RawClient.connect(hub.url)
            assert "no sign of life" in (await client.receive_goodbye()).message
            client.close()

    run_scenario(scenario)


def test_a_watcher_that_reads_nothing_is_dropped_and_told() -> None:
    """Bounded by bytes: the hub holds no more for it than the feed that it holds for all."""

    async def scenario() -> None:
        limits = Limits(lag_bytes=1 << 16, linger_s=5.0)
        async with hub_with_a_friend(limits) as hub:
            slow = await RawClient.connect(hub.url)
            slow.send(Watch(id=1))
            while not isinstance(await slow.receive(), SnapshotEnd):
                pass
            admin = hub.open_store()
            number = 0
            while not hub.server.drops["slow"]:
                names = [f"{'long-name' * 25}-{n}" for n in range(200)]
                await asyncio.gather(
                    *(admin.claim(claim(n, 2 + i + number * 200)) for i, n in enumerate(names))
                )
                number += 1
                assert number < 200, "the hub never dropped a client that reads nothing"
            goodbye = await slow.receive_goodbye()
            assert goodbye.code == "slow"
            assert "65536 bytes behind" in goodbye.message
            slow.close()
            await admin.close()

    run_scenario(scenario)


def test_a_client_that_stalls_in_the_middle_is_dropped() -> None:
    async def scenario() -> None:
        limits = Limits(stall_s=0.3, linger_s=0.1)
        async with running_hub(limits=limits, net_conf=HOST_GW | {"Network": "10.0.0.0/8"}) as hub:
            admin = hub.open_store()
            for start in range(0, 10000, 1000):
                await asyncio.gather(
                    *(admin.claim(claim(f"{'x' * 200}{n}", n)) for n in range(start, start + 1000))
                )
            slow = await RawClient.connect(hub.url)
            slow.send(Watch(id=1))
            await until(lambda: hub.server.drops["slow"] > 0)
            slow.close()
            await admin.close()

    run_scenario(scenario)


def test_a_client_that_asks_for_much_and_reads_nothing_is_not_read_from() -> None:
    """Half a million lists of a thousand nodes in one breath: gigabytes, if all were answered."""

    async def scenario() -> None:
        async with hub_with_a_friend(Limits(linger_s=0.1)) as hub:
            admin = hub.open_store()
            await asyncio.gather(*(admin.claim(claim(f"n{n}", 2 + n)) for n in range(1000)))
            answered = hub.server.requests["list", "ok"]
            others = set(hub.server.sessions)
            greedy = await RawClient.connect(hub.url)
            (session,) = set(hub.server.sessions) - others
            request = encode_frame(List(id=1, kind="node"))
            greedy.send_bytes(request * 500_000)
            for _ in range(100):
                await admin.renew("n1")  # the hub serves others meanwhile
            assert hub.server.requests["list", "ok"] - answered < 100
            assert len(session._bodies or ()) * len(request) < 1 << 20
            seen = 0
            while seen < 30:  # and the greedy one as well, as fast as it reads
                frame = await greedy.receive()
                assert isinstance(frame, Listing)
                seen += not frame.more
            greedy.close()
            await admin.close()

    run_scenario(scenario)


def test_a_hub_that_is_full_says_so() -> None:
    async def scenario() -> None:
        async with running_hub(limits=Limits(clients=2, linger_s=0.1)) as hub:
            clients = [await RawClient.connect(hub.url) for _ in range(2)]
            late = await RawClient.connect(hub.url, hello=False)
            goodbye = await late.receive()
            assert isinstance(goodbye, Goodbye)
            assert (goodbye.code, "2 clients" in goodbye.message) == ("busy", True)
            late.close()
            clients[0].close()
            await until(lambda: len(hub.server.sessions) == 1)
            clients.append(await RawClient.connect(hub.url))
            for client in clients:
                client.close()

    run_scenario(scenario)


def test_clients_that_hang_up_at_any_byte_leave_nothing_behind() -> None:
    async def scenario() -> None:
        async with hub_with_a_friend() as hub:
            watch = framed(msgspec.msgpack.encode({"t": "watch", "id": 1}))
            hello = framed(msgspec.msgpack.encode({"t": "hello", "version": 1}))
            stream = hello + watch + hello
            for end in range(0, len(stream), 3):
                client = await RawClient.connect(hub.url, hello=False)
                client.send_bytes(stream[:end])
                client.close()
            await until(lambda: len(hub.server.sessions) == 1)
            assert hub.server.watchers == 1

    run_scenario(scenario)


def test_a_request_that_cannot_be_is_answered_and_harms_no_other() -> None:
    async def scenario() -> None:
        async with hub_with_a_friend() as hub:
            client = await RawClient.connect(hub.url)
            claim_body = {
                "name": "n",
                "backend": "host-gw",
                "ttl_s": 5,
                "wishes": [{"family": 2, "public_ip": "nowhere"}],
            }
            client.send_bytes(
                framed(msgspec.msgpack.encode({"t": "claim", "id": 5, "claim": claim_body}))
            )
            client.send(Put(id=6, kind="note", name="n", value=b"v"))
            refused, done = await client.receive(), await client.receive()
            assert isinstance(refused, Failure)
            assert (refused.id, refused.code) == (5, "invalid")
            assert isinstance(done, Done)
            assert done.id == 6
            client.close()

    run_scenario(scenario)


def test_unknown_keys_of_a_newer_client_are_ignored() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            client = await RawClient.connect(hub.url, hello=False)
            hello = {"t": "hello", "version": 1, "features": ["teleport"], "mood": "good"}
            client.send_bytes(framed(msgspec.msgpack.encode(hello)))
            welcome = await client.receive()
            assert isinstance(welcome, Welcome)
            assert "teleport" not in welcome.features
            client.send(Ping())
            client.send(Hello(1))
            assert "twice" in (await client.receive_goodbye()).message
            client.close()

    run_scenario(scenario)
