"""Requests over a real socket: every answer and every refusal arrives as its own type."""

import asyncio
import os
import stat
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from hub.clients import claim
from hub.hub_process import HOST_GW, QUICK, run_scenario, running_hub
from podway.store.engines import open_hub
from podway.store.hub import HubStore, StoredValue
from podway.store.protocol import (
    ClaimRefused,
    LeaseLost,
    NodeStatus,
    Reservation,
    Store,
    StoreAway,
)
from podway.store.refusals import Conflict, ValueRefused


def test_the_client_is_a_store() -> None:
    store: Store = HubStore.__new__(HubStore)
    assert store is not None


def test_leases_over_the_wire() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            node = await store.claim(claim("a", 1))
            assert [str(lease.subnet) for lease in node.leases] == ["10.9.1.0/24"]
            assert await store.claim(claim("a", 1)) == node
            await store.renew("a")
            with pytest.raises(LeaseLost):
                await store.renew("b")
            with pytest.raises(ClaimRefused, match=r"198\.18\.0\.1 is node a's"):
                await store.claim(claim("b", 1))
            await store.release("a")
            await store.release("a")
            with pytest.raises(LeaseLost):
                await store.renew("a")
            await store.close()

    run_scenario(scenario)


def test_a_thousand_claims_at_once_never_overlap() -> None:
    async def scenario() -> None:
        async with running_hub(net_conf=HOST_GW | {"Network": "10.0.0.0/12"}) as hub:
            stores = [hub.open_store() for _ in range(10)]
            nodes = await asyncio.gather(
                *(stores[n % 10].claim(claim(f"n{n}", n)) for n in range(1000))
            )
            assert len({lease.subnet for node in nodes for lease in node.leases}) == 1000
            assert {status.node for status in await stores[0].list_nodes()} == set(nodes)
            assert hub.server.ledger.commits < 1000
            for store in stores:
                await store.close()

    run_scenario(scenario)


def test_the_last_subnets_go_to_whoever_is_first() -> None:
    async def scenario() -> None:
        async with running_hub(net_conf=HOST_GW | {"Network": "10.9.0.0/21"}) as hub:
            store = hub.open_store()
            results = await asyncio.gather(
                *(store.claim(claim(f"n{n}", n)) for n in range(20)), return_exceptions=True
            )
            refused = [result for result in results if isinstance(result, ClaimRefused)]
            assert len(refused) == 20 - 7
            assert "7 leased and 0 reserved of the 7" in str(refused[0])
            await store.close()

    run_scenario(scenario)


def test_an_administrators_calls() -> None:
    async def scenario() -> None:
        async with running_hub(net_conf=None) as hub:
            store = hub.open_store()
            assert await store.get_network() is None
            with pytest.raises(ValueRefused, match="SubnetLen"):
                await store.put_network('{"Network": "10.9.0.0/16", "SubnetLen": 99}')
            text = '{"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}'
            revision = await store.put_network(text, expected_revision=0)
            with pytest.raises(Conflict):
                await store.put_network(text, expected_revision=0)
            stored = await store.get_network()
            assert stored is not None
            assert (stored.text, stored.revision) == (text, revision)

            subnet = IPv4Network("10.9.7.0/24")
            await store.reserve("late", [subnet])
            assert await store.list_reservations() == (Reservation("late", (subnet,)),)
            node = await store.claim(claim("late", 1, ttl_s=0))
            assert node.leases[0].subnet == subnet
            (status,) = await store.list_nodes()
            assert (status.node, status.ttl_s, status.expires_in_s) == (node, 0, None)
            await store.unreserve("late")
            await store.unreserve("late")
            assert await store.list_reservations() == ()

            other = '{"Network": "10.8.0.0/16", "Backend": {"Type": "host-gw"}}'
            with pytest.raises(ValueRefused, match="of node late"):
                await store.put_network(other)
            await store.put_network(other, force=True)
            await store.close()

    run_scenario(scenario)


def test_a_node_says_how_long_it_lives() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            node = await store.claim(claim("a", 1, ttl_s=500))
            (status,) = await store.list_nodes()
            assert status.expires_in_s is not None
            assert 0 < status.expires_in_s <= 500
            assert status == NodeStatus(
                node=node,
                revision=status.revision,
                ttl_s=500,
                expires_in_s=status.expires_in_s,
            )
            await store.close()

    run_scenario(scenario)


def test_swaps_that_race_have_one_winner_each() -> None:
    """Ten clients count to a hundred together; compare-and-swap loses no step."""

    async def count(store: HubStore, times: int) -> None:
        for _ in range(times):
            while True:
                old = await store.get("counter", "n")
                value, revision = (int(old.value), old.revision) if old else (0, 0)
                try:
                    await store.put("counter", "n", b"%d" % (value + 1), expected=revision)
                    break
                except Conflict:
                    continue

    async def scenario() -> None:
        async with running_hub() as hub:
            stores = [hub.open_store() for _ in range(10)]
            await asyncio.gather(*(count(store, 10) for store in stores))
            final = await stores[0].get("counter", "n")
            assert final is not None
            assert final.value == b"100"
            for store in stores:
                await store.close()

    run_scenario(scenario)


def test_values_of_any_bytes_come_back() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            value = bytes(range(256)) * 900  # nearly the largest request
            revision = await store.put("note", "n", value)
            assert await store.get("note", "n") == StoredValue(value, revision)
            await store.delete("note", "n", expected=revision)
            assert await store.get("note", "n") is None
            await store.close()

    run_scenario(scenario)


def test_a_call_to_a_hub_that_is_away_fails_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_hub(f"unix:{tmp_path / 'none.sock'}", options=QUICK)
        with pytest.raises(StoreAway, match="is the hub running"):
            await store.renew("a")
        await store.close()
        with pytest.raises(StoreAway, match="closed"):
            await store.renew("a")

    run_scenario(scenario)


def test_the_socket_is_for_root_alone() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            mode = hub.socket_path.stat().st_mode
            assert stat.S_IMODE(mode) == 0o600

    run_scenario(scenario)


@pytest.mark.root
def test_another_user_is_refused_even_with_the_door_open() -> None:
    """Somebody loosened the modes: the hub still asks the kernel who is there."""

    async def scenario() -> None:
        async with running_hub() as hub:
            hub.socket_path.parent.chmod(0o755)
            hub.socket_path.chmod(0o666)
            program = (
                "import socket, sys; s = socket.socket(socket.AF_UNIX); "
                "s.connect(sys.argv[1]); s.settimeout(20); sys.stdout.buffer.write(s.recv(4096))"
            )
            process = await asyncio.create_subprocess_exec(
                *("/usr/bin/python3", "-I", "-c", program, str(hub.socket_path)),
                user=65534,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
            assert b"forbidden" in output
            assert b"user 65534" in output

    run_scenario(scenario)


def test_own_user_is_let_in() -> None:
    """Labs without root: the hub's own user counts as root does."""

    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            assert await store.list_nodes() == ()
            (session,) = hub.server.sessions
            assert session.peer is not None
            assert f"uid={os.geteuid()}" in session.peer.via
            await store.close()

    run_scenario(scenario)
