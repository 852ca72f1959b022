"""What was acknowledged is there: after kill -9, a torn last write, and a full disk."""

import asyncio
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.clients import claim, next_event, patiently, until
from hub.hub_process import HOST_GW, HubProcess, run_scenario
from podway.hub.database import FILE_NAME, Database
from podway.hub.ledger import Ledger
from podway.model.nodes import Node
from podway.store.hub import HubOptions, HubStore
from podway.store.protocol import Delta, Snapshot, StoreAway
from podway.store.refusals import StorageFailed

KILLS = 50
BIG = HOST_GW | {"Network": "10.0.0.0/8"}
IMPATIENT = HubOptions(backoff_min_s=0.01, backoff_max_s=0.02, request_s=20.0)


class Claimant:
    """Claims, releases and counts for ever, and remembers what was acknowledged."""

    def __init__(self, store: HubStore, number: int, going: asyncio.Event) -> None:
        self._store = store
        self._number = number
        self._going = going
        self.idle = False
        self.held: dict[str, Node] = {}
        self.released: set[str] = set()
        self.doubtful: set[str] = set()

    async def run(self) -> None:
        step = 0
        while True:
            self.idle = True
            await self._going.wait()
            self.idle = False
            step += 1
            name = f"n{self._number}-{step}"
            try:
                await self._live(name, step)
            except StoreAway:
                await asyncio.sleep(0.005)

    async def _live(self, name: str, step: int) -> None:
        self.doubtful.add(name)
        node = await self._store.claim(claim(name, self._number * 100_000 + step))
        self.held[name] = node
        self.doubtful.discard(name)
        if step % 3 == 0:
            self.doubtful.add(name)
            del self.held[name]
            await self._store.release(name)
            self.released.add(name)
            self.doubtful.discard(name)


async def check(claimants: list[Claimant], store: HubStore) -> None:
    """Compare what the hub holds with what it acknowledged."""
    there = {status.node.name: status.node for status in await patiently(store.list_nodes)}
    for claimant in claimants:
        for name, node in claimant.held.items():
            assert there.get(name) == node, f"acknowledged, but not there: {name}"
        assert not there.keys() & claimant.released, "released, and there again"
    known = {name for c in claimants for name in (*c.held, *c.doubtful)}
    assert there.keys() <= known, "nobody claimed that"
    subnets = [lease.subnet for node in there.values() for lease in node.leases]
    assert len(subnets) == len(set(subnets)), "given twice"


def test_fifty_kills_during_a_stream_of_claims() -> None:
    async def scenario() -> None:
        chance = random.Random(2024)
        with HubProcess(net_conf=BIG) as hub:
            stores = [hub.open_store(IMPATIENT) for _ in range(4)]
            going = asyncio.Event()
            going.set()
            claimants = [Claimant(store, n, going) for n, store in enumerate(stores)]
            tasks = [asyncio.create_task(claimant.run()) for claimant in claimants]
            for _ in range(KILLS):
                before = sum(len(c.released) for c in claimants)
                await until(lambda: sum(len(c.released) for c in claimants) > before + 3)  # noqa: B023
                await asyncio.sleep(chance.uniform(0, 0.01))
                hub.kill()
                going.clear()
                await asyncio.to_thread(hub.start)
                await until(lambda: all(claimant.idle for claimant in claimants))
                await check(claimants, stores[0])
                going.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for store in stores:
                await store.close()

    run_scenario(scenario, 110)


def acknowledged(directory: Path) -> tuple[int, dict[str, Node]]:
    """Fill a store, and leave it as a kill would: with its log not yet folded in."""

    async def scenario() -> None:
        with HubProcess(net_conf=BIG, data_dir=directory) as hub:
            store = hub.open_store()
            for number in range(20):
                node = await store.claim(claim(f"n{number}", number))
                nodes[node.name] = node
            hub.kill()
            await store.close()

    nodes: dict[str, Node] = {}
    run_scenario(scenario)
    return len(nodes), nodes


def wal_of(directory: Path) -> Path:
    return directory / f"{FILE_NAME}-wal"


def reopened(directory: Path) -> dict[str, Node]:
    database = Database(directory)
    try:
        return dict(Ledger(database).state.holdings.nodes)
    finally:
        database.close()


@pytest.mark.parametrize("torn", [1, 23, 24, 100, 1000, 4119])
def test_a_torn_write_that_was_not_acknowledged_takes_nothing_with_it(
    tmp_path: Path, torn: int
) -> None:
    """The beginning of a further frame of the log, cut off anywhere."""
    directory = tmp_path / "data"
    _, nodes = acknowledged(directory)
    wal = wal_of(directory)
    whole = wal.read_bytes()
    last_frame = whole[-4120:]  # 24 bytes of header and one page
    wal.write_bytes(whole + last_frame[:torn])
    assert reopened(directory) == nodes


def test_garbage_after_the_log_is_ignored(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    _, nodes = acknowledged(directory)
    with wal_of(directory).open("ab") as wal:
        wal.write(random.Random(7).randbytes(4120 * 3))
    assert reopened(directory) == nodes


@pytest.mark.parametrize("damage", ["truncated", "garbled"])
def test_a_disk_that_lied_costs_the_last_writes_and_no_more(tmp_path: Path, damage: str) -> None:
    """Even when bytes that were synced are gone, what remains is a state that once was."""
    directory = tmp_path / "data"
    count, nodes = acknowledged(directory)
    wal = wal_of(directory)
    whole = wal.read_bytes()
    for cut in range(1, 4 * 4120, 1371):
        copy = tmp_path / f"copy-{cut}"
        shutil.copytree(directory, copy)
        tail = b"" if damage == "truncated" else random.Random(cut).randbytes(cut)
        wal_of(copy).write_bytes(whole[:-cut] + tail)
        found = reopened(copy)
        assert count - 5 <= len(found) <= count
        assert found == {name: nodes[name] for name in list(nodes)[: len(found)]}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "podway-test", mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.mark.root
def test_a_full_disk_and_space_again(small_disk: Path) -> None:
    """Writes are refused with the reason, reads and watches go on, and nothing is lost."""

    async def fill_up(store: HubStore) -> int:
        for number in range(1000):
            try:
                await store.put("note", f"n{number}", bytes([number % 256]) * 50_000)
            except StorageFailed:
                return number
        raise AssertionError("the disk never filled up")

    async def scenario() -> None:
        with HubProcess(net_conf=BIG, data_dir=small_disk / "data") as hub:
            store, watcher = hub.open_store(), hub.open_store()
            node = await store.claim(claim("a", 1))
            events = watcher.watch()
            await next_event(events, Snapshot)
            ballast = small_disk / "ballast"
            ballast.write_bytes(b"\0" * 300_000)
            written = await fill_up(store)
            assert written > 0
            with pytest.raises(StorageFailed, match="full"):
                await store.put("note", "more", b"x" * 50_000)
            assert [status.node for status in await store.list_nodes()] == [node]
            ballast.unlink()
            await store_when_possible(store, "more")
            other = await store.claim(claim("b", 2))
            assert (await next_event(events, Delta)).changes[0].node == other
            for number in range(written):
                stored = await store.get("note", f"n{number}")
                assert stored is not None
                assert stored.value == bytes([number % 256]) * 50_000
            assert "storage fails" in hub.log
            assert "storage works again" in hub.log
            hub.kill()
            await asyncio.to_thread(hub.start)
            assert len(await patiently(store.list_nodes)) == 2
            assert await store.get("note", f"n{written}") is None
            await store.close()
            await watcher.close()

    run_scenario(scenario)


async def store_when_possible(store: HubStore, name: str) -> None:
    """The hub tries again a second after a failure at the earliest."""
    async with asyncio.timeout(30):
        while True:
            try:
                await store.put("note", name, b"x" * 50_000)
            except StorageFailed:
                await asyncio.sleep(0.05)
            else:
                return
