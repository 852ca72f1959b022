"""What is read of the kernel when, and what becomes of a kernel that cannot be read."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Collection
from ipaddress import ip_address, ip_interface

import pytest

from agent.nodes import run, running, until
from podway.agent import lookout as lookout_module
from podway.kernel.protocol import KernelError, Seen
from podway.model.kernel import Address, Key, Sysctl, link_key
from unit.agent.lookout_bench import CNI0, FORWARD, GATEWAY, ROUTE, Bench, watching


def test_first_everything_is_read_then_only_what_changed() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            assert not bench.lookout.complete
            assert await bench.look(), "the uplink is news"
            assert bench.lookout.complete
            assert bench.lookout.uplink is not None
            assert bench.lookout.uplink.dev == "eth0"
            await bench.settle()
            bench.kernel.fail_read(errno.EIO)  # nobody notices: nothing is due
            assert not await bench.look()
            assert bench.lookout.error == ""
            assert bench.planned() == set()

    run(scenario)


def test_a_notification_wakes_and_is_taken_in() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            bench.kernel.tamper_delete(ROUTE.key)
            await bench.woken.wait()
            await bench.look()
            assert bench.planned() == {f"create {ROUTE.key}"}
            bench.kernel.tamper_delete(GATEWAY.key)
            await bench.woken.wait()  # it listens again

    run(scenario)


def test_what_is_to_be_looked_at_while_others_are_read_is_read_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever then waits for the pass under way must not be told what was before (CHECK)."""

    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            loop, check = asyncio.get_running_loop(), bench.kernel.check_sysctls

            def check_slowly(wanted: Collection[Key]) -> list[Seen]:
                bench.kernel.stack.delete(GATEWAY.key)  # without a word
                loop.call_soon_threadsafe(bench.lookout.look_at, "cni0")
                return check(wanted)

            monkeypatch.setattr(bench.kernel, "check_sysctls", check_slowly)
            monkeypatch.setattr(bench.lookout, "_sysctls_due", True)  # as `poll` does
            await bench.look()
            assert bench.planned() == {f"create {GATEWAY.key}"}

    run(scenario)


def test_a_device_that_went_down_took_its_routes_in_silence() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            bench.kernel.tamper_link_down("eth0")
            bench.kernel.tamper_link_up("eth0")
            await bench.woken.wait()
            await bench.look()
            assert f"create {ROUTE.key}" in bench.planned()

    run(scenario)


def test_with_the_last_address_of_a_device_may_go_its_routes_in_silence() -> None:
    """As the real kernel does; here they are taken away by hand, without a word."""

    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            bench.kernel.stack.delete(ROUTE.key)
            bench.kernel.tamper_delete(Address("eth0", ip_interface("192.0.2.1/24")).key)
            await bench.woken.wait()
            await bench.look()
            assert f"create {ROUTE.key}" in bench.planned()

    run(scenario)


def test_lost_notifications_have_everything_read() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            bench.kernel.tamper_delete(link_key("cni0"))
            bench.kernel.overrun()
            await bench.woken.wait()
            await bench.look()
            assert {f"create {CNI0.key}", f"create {GATEWAY.key}"} <= bench.planned()

    run(scenario)


def test_rules_of_others_that_cannot_be_read_are_no_reason_to_distrust_the_kernel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> tuple[str, ...]:
        raise KernelError(errno.EINTR, "look for chains that drop", "it changed while being read")

    async def scenario() -> None:
        async with watching() as bench:
            monkeypatch.setattr(bench.kernel, "find_forward_drops", refuse)
            await bench.look()
            assert (bench.lookout.complete, bench.lookout.error) == (True, "")
            await bench.settle()
            bench.kernel.stack.delete(GATEWAY.key)  # without a word
            for _ in range(2):
                bench.lookout.look_at_all()
                await bench.look()
            assert f"create {GATEWAY.key}" in bench.planned()
            monkeypatch.setattr(bench.kernel, "find_forward_drops", lambda: ("inet fw f",))
            bench.lookout.look_at_all()
            await bench.look()
            assert bench.lookout.forward_drops == ("inet fw f",)

    run(scenario)
    assert sum("nobody knows" in record.message for record in caplog.records) == 1


@pytest.fixture
def _quick_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout_module, "POLL_S", 0.005)


@contextlib.asynccontextmanager
async def polling(bench: Bench) -> AsyncIterator[None]:
    async with running(bench.lookout.poll(lambda: [FORWARD.key])):
        yield


@pytest.mark.usefixtures("_quick_poll")
def test_a_sysctl_that_changed_is_found_by_polling_and_costs_nothing_before() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            bench.woken.clear()
            async with polling(bench):
                await asyncio.sleep(0.03)
                assert not bench.woken.is_set()
                bench.kernel.stack.sysctls.write(Sysctl("ipv4/ip_forward", "0"))
                await until(bench.woken.is_set)
            await bench.look()
            assert bench.planned() == {f"change {FORWARD.key}"}

    run(scenario)


# --- the uplink ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("_quick_poll")
def test_the_default_route_may_come_late_and_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with watching(uplink=False) as bench:
            await bench.look()
            assert "default route" in bench.lookout.uplink_error
            bench.kernel.add_device("eth0", addresses=("192.0.2.1/24",))
            await bench.look()
            bench.kernel.set_default_route("eth0", ip_address("192.0.2.254"))
            bench.woken.clear()
            async with polling(bench):
                await until(bench.woken.is_set)
            assert await bench.look()
            assert (bench.lookout.uplink_error, bench.lookout.uplink is None) == ("", False)

    run(scenario)
    assert caplog.text.count("no uplink") == 1


def test_an_uplink_that_comes_back_as_it_was_is_no_error_any_more() -> None:
    async def scenario() -> None:
        async with watching("eth0") as bench:
            await bench.look()
            before = bench.lookout.uplink
            bench.kernel.tamper_delete(link_key("eth0"))
            await bench.woken.wait()
            assert not await bench.look(), "it is kept, because it most likely comes back"
            assert "device eth0" in bench.lookout.uplink_error
            bench.kernel.add_device("eth0", addresses=("192.0.2.1/24",))
            await bench.woken.wait()
            await bench.look()
            assert (bench.lookout.uplink_error, bench.lookout.uplink) == ("", before)

    run(scenario)


def test_the_default_route_moves_to_another_device() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            bench.kernel.add_device("eth1", addresses=("198.51.100.1/24",))
            bench.kernel.tamper_delete(link_key("eth0"))
            bench.kernel.set_default_route("eth1", ip_address("198.51.100.254"))
            await bench.woken.wait()
            assert await bench.look()
            assert bench.lookout.uplink is not None
            assert bench.lookout.uplink.dev == "eth1"

    run(scenario)


@pytest.mark.parametrize("change", ["mtu", "address"])
def test_a_change_of_the_uplink_is_news(change: str) -> None:
    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            if change == "mtu":
                link = bench.kernel.stack.link("eth0")
                bench.kernel.tamper_set(type(link)(name="eth0", kind=link.kind, mtu=1400, alias=""))
            else:
                bench.kernel.tamper_set(Address("eth0", ip_interface("192.0.2.77/24")))
            await bench.woken.wait()
            assert await bench.look()

    run(scenario)


# --- a kernel that cannot be read ---------------------------------------------------------------


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout_module, "REREAD_S", 0.01)


@pytest.mark.usefixtures("_soon")
def test_before_the_first_complete_read_nothing_counts_as_known() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            for _ in range(3):
                bench.kernel.fail_read(errno.ENOBUFS)
                await bench.look()
                assert not bench.lookout.complete
                assert bench.lookout.error
                await bench.woken.wait()
            await bench.look()
            assert (bench.lookout.complete, bench.lookout.error) == (True, "")

    run(scenario)


@pytest.mark.usefixtures("_soon")
def test_what_could_not_be_read_is_read_again_after_a_pause() -> None:
    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            bench.kernel.stack.delete(GATEWAY.key)  # in silence
            bench.kernel.fail_read(errno.EINTR)
            bench.lookout.look_at("cni0")
            await bench.look()
            assert "cni0" in bench.lookout.error
            assert bench.planned() == set()
            await bench.woken.wait()
            await bench.look()
            assert bench.lookout.error == ""
            assert bench.planned() == {f"create {GATEWAY.key}"}

    run(scenario)


@pytest.mark.usefixtures("_soon")
def test_notifications_that_cannot_be_read_do_not_make_it_deaf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> list[object]:
        raise KernelError(errno.EIO, "read notifications", "arranged by the test")

    async def scenario() -> None:
        async with watching() as bench:
            await bench.look()
            await bench.settle()
            with monkeypatch.context() as context:
                context.setattr(bench.kernel, "drain", refuse)
                bench.kernel.tamper_delete(ROUTE.key)
                await bench.woken.wait()
                await bench.look()
                assert bench.lookout.error
            await until(bench.woken.is_set)
            await bench.look()
            assert bench.planned() == {f"create {ROUTE.key}"}
            bench.woken.clear()  # the pause after the refusal may have ended within that look
            bench.kernel.tamper_delete(link_key("cni0"))
            await until(bench.woken.is_set)
            await bench.look()
            assert f"create {CNI0.key}" in bench.planned()

    run(scenario)
