"""When FORWARD is looked at, and what becomes of a kernel that refuses."""

import contextlib
import errno
from collections.abc import AsyncIterator, Iterable
from ipaddress import ip_network

import pytest
from msgspec.structs import replace

from agent.nodes import run, running, until
from podway.agent import forward as forward_module
from podway.agent.forward import ForwardKeeper
from podway.agent.place import place_of
from podway.agent.settings import Settings
from podway.kernel.forward_chain import Kept
from podway.kernel.logs import get_log
from podway.kernel.protocol import KernelError
from podway.model.addresses import IPNetwork
from unit.agent.lookout_bench import Bench
from unit.agent.values import network, node
from unit.compute.clusters import UPLINK

PLACE = place_of(
    Settings(node="a", store="unix:/none"), network(), node("a"), UPLINK, bridged=False
)
NET = (ip_network("10.244.0.0/16"),)


class Chain:
    """A chain that notes what is asked of it, and says what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[IPNetwork, ...]] = []
        self.answer: Kept | KernelError = Kept()
        self.looked: list[tuple[IPNetwork, ...]] = []
        self.legacy: list[str] | KernelError = []

    def keep(self, prefixes: Iterable[IPNetwork]) -> Kept:
        self.asked.append(tuple(prefixes))
        if isinstance(self.answer, KernelError):
            raise self.answer
        return self.answer

    def find_legacy_drops(self, prefixes: Iterable[IPNetwork]) -> list[str]:
        self.looked.append(tuple(prefixes))
        if isinstance(self.legacy, KernelError):
            raise self.legacy
        return self.legacy


@contextlib.asynccontextmanager
async def keeping(chain: Chain | None) -> AsyncIterator[tuple[Bench, ForwardKeeper]]:
    bench = Bench()
    keeper = ForwardKeeper(chain, bench.thread, bench.lookout, get_log("test"))
    try:
        yield bench, keeper
    finally:
        keeper.stop()
        await bench.thread.close()


def test_it_is_asked_only_when_something_may_have_changed() -> None:
    async def scenario() -> None:
        chain = Chain()
        async with keeping(chain) as (bench, keeper):
            for _ in range(3):
                await keeper.keep(PLACE)
            assert chain.asked == [NET]
            bench.lookout.look_at_forward()
            assert bench.woken.is_set()
            await keeper.keep(PLACE)
            assert chain.asked == [NET, NET]
            bench.lookout.look_at_all()
            await keeper.keep(PLACE)
            assert chain.asked == [NET, NET, NET]
            assert keeper.is_kept
            await keeper.keep(replace(PLACE, forward=False))
            assert chain.asked[3:] == [()]
            assert not keeper.is_kept

    run(scenario)


def test_without_a_chain_nothing_is_done() -> None:
    async def scenario() -> None:
        async with keeping(None) as (_, keeper):
            await keeper.keep(PLACE)
            assert (keeper.error, keeper.is_kept) == ("", False)

    run(scenario)


def test_a_refusal_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(forward_module, "AGAIN_S", 0.01)

    async def scenario() -> None:
        chain = Chain()
        chain.answer = KernelError(errno.EPERM, "write chain PODWAY-FWD", "no")
        async with keeping(chain) as (bench, keeper):
            for turn in range(1, 4):
                bench.woken.clear()
                await keeper.keep(PLACE)
                assert len(chain.asked) == turn
                assert keeper.error == str(chain.answer)
                assert not keeper.is_kept
                await until(bench.woken.is_set)
            chain.answer = Kept(dropping=("iptables: x", "y"))
            await keeper.keep(PLACE)
            assert keeper.error == "iptables: x; y"
            bench.lookout.look_at_forward()
            chain.answer = Kept()
            await keeper.keep(PLACE)
            assert keeper.error == ""

    run(scenario)
    assert caplog.text.count("may be dropped") == 2, "each reason once"


def test_the_legacy_kind_is_looked_at_beside_the_passes(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        chain = Chain()
        chain.legacy = ["iptables-legacy: drops"]
        async with keeping(chain) as (bench, keeper), running(keeper.look_at_legacy()):
            await keeper.keep(PLACE)
            assert keeper.error == ""
            assert keeper.is_kept
            await until(lambda: keeper.error == "iptables-legacy: drops")
            assert keeper.is_kept, "what can be written is"
            for turn in range(2, 4):
                await keeper.keep(PLACE)  # nothing is due
                bench.lookout.look_at_all()
                await keeper.keep(PLACE)
                await until(lambda: len(chain.looked) == turn)  # noqa: B023
            chain.legacy = KernelError(errno.EIO, "iptables-legacy -w 5 -t filter -S", "locked")
            bench.lookout.look_at_all()
            await keeper.keep(PLACE)
            await until(lambda: "locked" in keeper.error)
            chain.legacy = []
            bench.lookout.look_at_all()
            await keeper.keep(PLACE)
            await until(lambda: keeper.error == "")
            assert chain.looked == [NET] * 5

    run(scenario)
    assert caplog.text.count("may be dropped") == 2, "each reason once"
