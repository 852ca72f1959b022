"""A hub before an etcd: many agents, one watch; who may what; outages and backups behind it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from hub.clients import claim, next_event, patiently
from hub.hub_process import QUICK, run_scenario
from hub.tls_clients import files_in
from podway.errors import ConfigError
from podway.hub.certs import write_certificates
from podway.hub.limits import Limits
from podway.hub.listeners import bound_address, listen
from podway.hub.metrics import build_routes
from podway.hub.settings import HubSettings, add_arguments, parse_settings
from podway.hub.upstream import UpstreamServer
from podway.store.address import HubAddress, TcpAddress, UnixAddress
from podway.store.engines import open_hub
from podway.store.hub import HubStore
from podway.store.protocol import Delta, Snapshot, StoreAway, StoreEvent
from podway.store.refusals import NotAllowed
from podway.store.tls import TlsFiles
from store.backings import NET
from store.etcd_process import EtcdProcess
from store.streams import current

PREFIX = "/coreos.com/network"


@pytest.fixture
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        process.put(f"{PREFIX}/config", NET)
        yield process


class Front:
    """A hub of this process before an etcd."""

    def __init__(self, server: UpstreamServer, path: Path) -> None:
        self.server = server
        self._path = path

    def open_store(self) -> HubStore:
        return open_hub(f"unix:{self._path}", options=QUICK)


@asynccontextmanager
async def front(
    etcd: EtcdProcess, directory: Path, tls: TlsFiles | None = None
) -> AsyncIterator[Front]:
    """Serve *etcd* on a Unix socket, or, with *tls*, on TCP."""
    path = directory / "hub.sock"
    address: HubAddress = UnixAddress(path) if tls is None else TcpAddress("127.0.0.1", 0)
    async with AsyncExitStack() as undo:
        server = UpstreamServer(etcd.open_store(), Limits(linger_s=0.5))
        undo.push_async_callback(server.stop, "the test is over")
        listener = await listen(server, address, tls)
        undo.callback(path.unlink, missing_ok=True)
        undo.callback(listener.close)
        server.addresses.append(bound_address(address, listener))
        yield Front(server, path)


async def snapshot(events: AsyncIterator[StoreEvent]) -> Snapshot:
    """Return the next snapshot."""
    async with asyncio.timeout(30):
        async for event in events:
            if isinstance(event, Snapshot):
                return event
    raise AssertionError("the stream ended")


def test_what_cannot_be_read_behind_it_is_counted(etcd: EtcdProcess, tmp_path: Path) -> None:
    """Agents never hear of it, so their metrics cannot tell."""
    etcd.put(f"{PREFIX}/subnets/10.9.60.0-24", "{")

    async def scenario() -> None:
        async with front(etcd, tmp_path) as hub:
            await snapshot(hub.open_store().watch())
            lines = build_routes(hub.server)["/metrics"]().body.decode().splitlines()
            assert "podway_hub_upstream_malformed_entries 1.0" in lines
            assert "podway_hub_upstream_passed_over_total 1.0" in lines
            assert "podway_hub_upstream_requests_total 2.0" in lines

    run_scenario(scenario)


def test_many_agents_are_one_client_to_etcd(etcd: EtcdProcess, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with front(etcd, tmp_path) as hub:
            agents = [hub.open_store() for _ in range(50)]
            streams = [agent.watch() for agent in agents]
            for stream in streams:
                await next_event(stream, Snapshot)
            node = await agents[0].claim(claim("a", 1))
            await asyncio.gather(*(current(stream, "a", node) for stream in streams))
            # One reads, one watches; the claim took an etcd lease and a transaction.
            counts = hub.server._store.counts  # type: ignore[attr-defined]
            assert counts.requests == 4
            await asyncio.gather(*(agent.close() for agent in agents))

    run_scenario(scenario)


def test_nobody_sees_an_unfinished_state(etcd: EtcdProcess, tmp_path: Path) -> None:
    """Who comes while etcd is away waits; claims are refused as what they are."""
    etcd.kill()

    async def scenario() -> None:
        async with front(etcd, tmp_path) as hub:
            agent = hub.open_store()
            events = agent.watch()
            first = asyncio.ensure_future(snapshot(events))
            with pytest.raises(StoreAway):
                await agent.claim(claim("a", 1))
            assert hub.server.ledger.failure is not None
            assert not first.done()
            etcd.start()
            assert (await first).network is not None
            node = await patiently(lambda: agent.claim(claim("a", 1)))
            await current(events, "a", node)
            await agent.close()

    run_scenario(scenario)


def test_an_outage_behind_the_hub_is_no_news_for_watchers(
    etcd: EtcdProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with front(etcd, tmp_path) as hub:
            agent = hub.open_store()
            node = await agent.claim(claim("a", 1))
            events = agent.watch()
            assert (await next_event(events, Snapshot)).nodes == (node,)
            etcd.kill()
            with pytest.raises(StoreAway):
                await agent.renew("a")
            etcd.start()
            other = await patiently(lambda: agent.claim(claim("b", 2)))
            delta = await next_event(events, Delta)
            assert other in {change.node for change in delta.changes}
            await agent.close()

    run_scenario(scenario)


def test_a_backup_put_back_reaches_agents_as_such(etcd: EtcdProcess, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    etcd.ctl("snapshot", "save", str(backup))
    for number in range(5):
        etcd.put("/elsewhere", str(number))

    async def scenario() -> None:
        async with front(etcd, tmp_path) as hub:
            agent = hub.open_store()
            node = await agent.claim(claim("a", 1))
            events = agent.watch()
            first = await next_event(events, Snapshot)
            assert (first.nodes, first.rewound) == ((node,), False)
            etcd.kill()
            etcd.restore(backup)
            etcd.start()
            second = await snapshot(events)
            assert (second.nodes, second.rewound) == ((), True)
            assert await patiently(lambda: agent.claim(claim("a", 1))) == node
            await agent.close()

    run_scenario(scenario)


def test_a_new_hub_tells_everything_anew(etcd: EtcdProcess, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with front(etcd, tmp_path) as hub:
            agent = hub.open_store()
            node = await agent.claim(claim("a", 1))
            events = agent.watch()
            await next_event(events, Snapshot)
        async with front(etcd, tmp_path):
            assert (await snapshot(events)).nodes == (node,)
            await agent.close()

    run_scenario(scenario)


def test_nodes_may_claim_for_themselves_alone(etcd: EtcdProcess, tmp_path: Path) -> None:
    """The hub's own login may do everything; its clients still may only do theirs."""
    write_certificates(tmp_path, ["a"])

    async def scenario() -> None:
        async with front(etcd, tmp_path, files_in(tmp_path, "hub")) as hub:
            agent = open_hub(
                str(hub.server.addresses[0]), tls=files_in(tmp_path, "a"), options=QUICK
            )
            node = await agent.claim(claim("a", 1))
            with pytest.raises(NotAllowed):
                await agent.claim(claim("b", 2))
            with pytest.raises(NotAllowed):
                await agent.put_network(NET)
            assert [status.node for status in await agent.list_nodes()] == [node]
            await agent.close()

    run_scenario(scenario)


def settings(*words: str) -> HubSettings:
    from argparse import ArgumentParser  # noqa: PLC0415

    parser = ArgumentParser()
    add_arguments(parser)
    return parse_settings(parser.parse_args(words))


def test_options() -> None:
    made = settings(
        *("--upstream", "etcd:https://a:1", "--upstream-tls-ca", "/ca"),
        *("--upstream-user", "podway", "--upstream-password-file", "/pw"),
    )
    assert made.upstream == "etcd:https://a:1"
    assert made.access.tls_ca == Path("/ca")
    assert made.access.store_user == "podway"
    assert made.access.store_password_file == Path("/pw")
    assert made.tls is None


@pytest.mark.parametrize("words", [("--upstream", "tcp:a:1"), ("--upstream", "unix:/a")])
def test_a_hub_before_a_hub_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        settings(*words)


def test_a_network_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net-conf.json").write_text(NET)
    with pytest.raises(ConfigError):
        settings("--upstream", "etcd:http://a:1", "--net-conf", str(tmp_path / "net-conf.json"))
