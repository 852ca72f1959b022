"""What somebody else changes or removes is put right, and counted, whatever it is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.nodes import Node, new_kernel, run, running_node, until
from agent.staged_store import StagedStore, peer, snapshot
from podway.agent import lookout
from podway.diff.compare import Difference, compare
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    Route,
    Sysctl,
    link_key,
)
from podway.model.networks import parse_network

ROUTED = parse_network(
    '{"Network": "10.9.0.0/16", "Attach": "routed", "Backend": {"Type": "vxlan"}}'
)
BRIDGED = parse_network('{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan"}}')


@asynccontextmanager
async def settled_node(tmp_path: Path, *, routed: bool = False) -> AsyncIterator[Node]:
    """Yield a node with a peer and a pod, and nothing left to do."""
    network = ROUTED if routed else BRIDGED
    store = StagedStore()
    store.say(snapshot(peer("p", "10.9.7.0/24", "192.0.2.7", network), network=network))
    async with running_node(tmp_path, store, kernel=new_kernel()) as node:
        await node.ready()
        assert (await node.add("c1")).code == 0
        await node.calm()
        assert node.agent.tracker.drift_repaired == 0
        yield node


def wanted(node: Node, choose: Callable[[KernelObject], bool]) -> KernelObject:
    """Return the one object that the node wants and *choose* chooses."""
    found = [node.agent.tracker.desired(key) for key in node.agent.tracker.wanted()]
    (item,) = [item for item in found if item is not None and choose(item)]
    return item


async def repaired(node: Node, desired: KernelObject) -> None:
    """Wait until the kernel holds *desired* again; it must have been counted."""

    def is_back() -> bool:
        found = node.found(desired.key)
        return found is not None and compare(desired, found) is Difference.NONE

    await until(is_back, lambda: node.found(desired.key))
    await node.calm()
    assert (await node.call("status"))["drift_repaired"] >= 1


def of(kind: type, dev: str = "") -> Callable[[KernelObject], bool]:
    return lambda item: isinstance(item, kind) and dev in ("", getattr(item, "dev", ""))


@pytest.mark.parametrize(
    ("choose", "routed"),
    [
        pytest.param(of(Link, "podway.1"), False, id="the VTEP"),
        pytest.param(of(Address, "podway.1"), False, id="the VTEP's address"),
        pytest.param(of(Link, BRIDGE_NAME), False, id="the bridge"),
        pytest.param(of(Address, BRIDGE_NAME), False, id="the bridge's address"),
        pytest.param(
            lambda item: isinstance(item, Link) and item.name.startswith("pw"),
            False,
            id="a pod's host end",
        ),
        pytest.param(of(Route, "podway.1"), False, id="a peer's route"),
        pytest.param(of(Neighbour), False, id="a peer's neighbour"),
        pytest.param(of(FdbEntry), False, id="a peer's FDB entry"),
        pytest.param(of(NftTable), False, id="the table"),
        pytest.param(
            lambda item: isinstance(item, Route) and item.dev.startswith("pw"),
            True,
            id="a pod's route",
        ),
        pytest.param(
            lambda item: isinstance(item, Route) and item.kind == "unreachable",
            True,
            id="the route for what no pod has",
        ),
        pytest.param(
            lambda item: isinstance(item, Link) and item.name.startswith("pw"),
            True,
            id="a routed pod's host end",
        ),
    ],
)
def test_what_is_deleted_comes_back(
    tmp_path: Path, choose: Callable[[KernelObject], bool], *, routed: bool
) -> None:
    async def scenario() -> None:
        async with settled_node(tmp_path, routed=routed) as node:
            item = wanted(node, choose)
            await node.tamper(node.kernel.tamper_delete, item.key)
            await repaired(node, item)

    run(scenario)


def with_wrong_mac(item: KernelObject) -> KernelObject:
    assert isinstance(item, Neighbour)
    return Neighbour(item.dev, item.address, "02:00:00:00:00:77")


def with_wrong_end(item: KernelObject) -> KernelObject:
    assert isinstance(item, FdbEntry)
    return FdbEntry(item.dev, item.mac, ip_address("192.0.2.99"))


def changed(**changes: object) -> Callable[[KernelObject], KernelObject]:
    return lambda item: replace(item, **changes)


@pytest.mark.parametrize(
    ("choose", "change"),
    [
        pytest.param(of(Link, "podway.1"), changed(mtu=1200), id="the VTEP's MTU"),
        pytest.param(of(Link, "podway.1"), changed(up=False), id="the VTEP is down"),
        pytest.param(of(Link, "podway.1"), changed(mac="02:00:00:00:00:01"), id="the VTEP's MAC"),
        pytest.param(of(Link, BRIDGE_NAME), changed(up=False), id="the bridge is down"),
        pytest.param(
            lambda item: isinstance(item, Link) and item.name.startswith("pw"),
            changed(master="", hairpin=None),
            id="a pod out of the bridge",
        ),
        pytest.param(
            of(Route, "podway.1"),
            changed(via=ip_address("10.9.7.1")),
            id="a peer's route elsewhere",
        ),
        pytest.param(of(Neighbour), with_wrong_mac, id="a peer's wrong MAC"),
        pytest.param(
            of(FdbEntry),
            with_wrong_end,
            id="a peer's wrong address",
        ),
    ],
)
def test_what_is_changed_is_changed_back(
    tmp_path: Path,
    choose: Callable[[KernelObject], bool],
    change: Callable[[KernelObject], KernelObject],
) -> None:
    async def scenario() -> None:
        async with settled_node(tmp_path) as node:
            item = wanted(node, choose)
            await node.tamper(node.kernel.tamper_set, change(item))
            await repaired(node, item)

    run(scenario)


def test_forwarding_that_is_switched_off_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "POLL_S", 0.02)
    forward = Sysctl("ipv4/ip_forward", "1")

    async def scenario() -> None:
        async with settled_node(tmp_path) as node:
            await node.tamper(node.kernel.stack.sysctls.write, replace(forward, value="0"))
            await repaired(node, forward)

    run(scenario)


def test_many_things_at_once(tmp_path: Path) -> None:
    """The device goes, and with it everything that stands on it."""

    async def scenario() -> None:
        async with settled_node(tmp_path) as node:
            for name in ("podway.1", BRIDGE_NAME):
                await node.tamper(node.kernel.tamper_delete, link_key(name))
            await until(lambda: node.agent.tracker.drift_repaired >= 2)
            await node.calm()
            (name,) = node.pod_links()
            assert getattr(node.found(link_key(name)), "master", "") == BRIDGE_NAME

    run(scenario)


def test_lost_notifications(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with settled_node(tmp_path) as node:
            await node.tamper(_lose_everything, node)
            await node.calm()

    run(scenario)


def _lose_everything(node: Node) -> None:
    node.kernel.tamper_delete(link_key("podway.1"))
    node.kernel.overrun()


def test_what_nobody_notified_is_found_by_the_next_full_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with settled_node(tmp_path) as node:
            route = wanted(node, of(Route, "podway.1"))
            await node.tamper(node.kernel.stack.delete, route.key)
            node.agent.resync()
            await until(lambda: node.found(route.key) == route)

    run(scenario)


def test_a_pod_whose_namespace_went_is_not_wanted_any_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with settled_node(tmp_path) as node:
            await node.destroy_netns("c1")
            await until(lambda: node.agent.endpoints.detached() == 1)
            await until(lambda: not node.agent.tracker.failures)
            assert await node.used() == 1, "until its DEL"
            (problem,) = (await node.call("ipam.check"))["problems"]
            released = await node.call("ipam.release", address=problem["address"])
            assert released["released"] == "10.9.1.2"
            assert await node.used() == 0
            await node.ready()

    run(scenario)


def test_a_foreign_device_in_the_way_is_left_alone_and_shown(tmp_path: Path) -> None:
    foreign = Link(name="podway.1", kind=Bridge(), mtu=1500, alias="mine")

    async def scenario() -> None:
        kernel = new_kernel()
        kernel.tamper_set(foreign)
        kernel.drain()
        store = StagedStore()
        store.say(snapshot(network=BRIDGED))
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await until(lambda: any("operations fail" in reason for reason in node.reasons()))
            assert getattr(node.found(foreign.key), "alias", "") == "mine"
            await node.tamper(kernel.tamper_delete, foreign.key)
            await node.ready()
            assert getattr(node.found(foreign.key), "alias", "").startswith("podway:")

    run(scenario)


def test_foreign_routes_stay(tmp_path: Path) -> None:
    foreign = Route(dst=ip_network("10.50.0.0/16"), dev="eth0", protocol=4)

    async def scenario() -> None:
        async with settled_node(tmp_path) as node:
            await node.tamper(node.kernel.tamper_set, foreign)
            node.agent.resync()
            await node.add("c2")
            await node.calm()
            assert node.found(foreign.key) == foreign

    run(scenario)
