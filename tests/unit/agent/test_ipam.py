"""Pools and ledger as one: all or nothing, the same after a restart, whatever the clock does."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podway.agent import ipam as ipam_module
from podway.agent.ipam import Ipam
from podway.agent.ledger import Ledger
from podway.compute.addresses import AddressError, PoolCooling, PoolExhausted
from podway.model.addresses import Family, IPNetwork
from unit.agent.values import SUBNET_IPV4, endpoint, held, key, subnets

COOLDOWN_S = 30.0
TINY_IPV4 = ip_network("10.244.1.0/29")  # room for five pods
TINY_IPV6 = ip_network("fd00::/126")  # room for two


class Clock:
    """Both clocks, as `time` gives them; the wall's may be set, the other one only goes on."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.ticks = 5_000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds

    def reboot(self) -> None:
        """Let the machine start anew: the monotonic clock begins again, the wall's goes on."""
        self.ticks = 7.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ipam_module, "time", made)
    return made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "agent.db")
    yield made
    made.close()


def started(ledger: Ledger, *pools: IPNetwork) -> Ipam:
    """Return an Ipam as a process has it that starts now."""
    made = Ipam(ledger, COOLDOWN_S)
    chosen = pools or tuple(subnets().values())
    made.set_subnets({Family.IPV4 if p.version == 4 else Family.IPV6: p for p in chosen})
    return made


def attach(ipam: Ipam, name: str, *requested: str) -> tuple[str, ...]:
    addresses = ipam.take(ip_address(item) for item in requested)
    ipam.add(endpoint(name, *map(str, addresses)), "")
    return tuple(map(str, addresses))


def used(ipam: Ipam) -> dict[Family, int]:
    return {family: pool.used for family, pool in ipam.pools.items()}


def test_a_pod_gets_one_address_of_each_family(ledger: Ledger) -> None:
    ipam = started(ledger)
    assert attach(ipam, "c1") == ("10.244.1.2", "fd00:10:244:1::2")
    assert attach(ipam, "c2", "10.244.1.77") == ("10.244.1.77", "fd00:10:244:1::3")
    assert attach(ipam, "c3", "fd00:10:244:1::77", "10.244.1.99") == (
        "10.244.1.99",
        "fd00:10:244:1::77",
    )
    assert used(ipam) == {Family.IPV4: 3, Family.IPV6: 3}


@pytest.mark.parametrize(
    "requested",
    [
        pytest.param(("10.245.0.1",), id="outside of the subnet"),
        pytest.param(("10.244.1.1",), id="the gateway's"),
        pytest.param(("10.244.1.0",), id="the VTEP's"),
        pytest.param(("10.244.1.255",), id="broadcast"),
        pytest.param(("10.244.1.2",), id="in use"),
        pytest.param(("10.244.1.50", "10.244.1.51"), id="two of one family"),
        pytest.param(("10.244.1.50", "fd00:10:244:1::2"), id="one free, one in use"),
    ],
)
def test_what_cannot_be_had_holds_nothing(ledger: Ledger, requested: tuple[str, ...]) -> None:
    ipam = started(ledger)
    attach(ipam, "c1")
    with pytest.raises(AddressError):
        ipam.take(map(ip_address, requested))
    assert used(ipam) == {Family.IPV4: 1, Family.IPV6: 1}
    assert attach(ipam, "c2", "10.244.1.50")[0] == "10.244.1.50"


def test_a_family_that_the_node_has_not(ledger: Ledger) -> None:
    ipam = started(ledger, SUBNET_IPV4)
    with pytest.raises(AddressError, match="no IPv6 subnet"):
        ipam.take([ip_address("fd00::5")])
    assert used(ipam) == {Family.IPV4: 0}


def test_dual_stack_is_all_or_nothing(ledger: Ledger, clock: Clock) -> None:
    ipam = started(ledger, TINY_IPV4, TINY_IPV6)
    attach(ipam, "c1")
    attach(ipam, "c2")
    for _ in range(10):
        with pytest.raises(PoolExhausted):
            ipam.take(())
    assert used(ipam) == {Family.IPV4: 2, Family.IPV6: 2}
    ipam.remove(key("c1"), map(ip_address, ("10.244.1.2", "fd00::2")))
    with pytest.raises(PoolCooling):
        ipam.take(())
    clock.pass_by(COOLDOWN_S)
    assert attach(ipam, "c3")[1] == "fd00::2"
    assert len(held(ledger)) == 4


def test_what_cannot_be_written_down_is_not_held(ledger: Ledger) -> None:
    ipam = started(ledger)
    addresses = ipam.take(())
    broken = endpoint("\ud800", *map(str, addresses))
    with pytest.raises(UnicodeEncodeError):
        ipam.add(broken, "")
    assert used(ipam) == {Family.IPV4: 0, Family.IPV6: 0}
    assert held(ledger) == {}


# --- restarts -----------------------------------------------------------------------------------


def test_held_stays_held_over_a_restart(ledger: Ledger) -> None:
    ipam = started(ledger)
    first = attach(ipam, "c1")
    again = started(ledger)
    assert used(again) == used(ipam)
    assert attach(again, "c2") == ("10.244.1.3", "fd00:10:244:1::3")
    with pytest.raises(AddressError):
        again.take([ip_address(first[0])])


def test_a_resting_address_rests_on_over_a_reboot(ledger: Ledger, clock: Clock) -> None:
    ipam = started(ledger, TINY_IPV4)
    for number in range(5):
        attach(ipam, f"c{number}")
    ipam.remove(key("c0"), [ip_address("10.244.1.2")])
    clock.pass_by(20.0)
    clock.reboot()
    again = started(ledger, TINY_IPV4)
    with pytest.raises(PoolCooling) as refused:
        again.take(())
    assert refused.value.wait_s == pytest.approx(10.0)
    clock.pass_by(10.0)
    assert attach(again, "new") == ("10.244.1.2",)


@pytest.mark.parametrize(
    ("step_s", "wait_s"),
    [
        pytest.param(-86400.0, COOLDOWN_S, id="the clock was set back: it rests once more"),
        pytest.param(86400.0, 0.0, id="the clock was set ahead: it has rested"),
        pytest.param(0.0, 20.0, id="the clock is right"),
    ],
)
def test_a_step_of_the_clock_never_makes_a_rest_longer_than_it_is(
    ledger: Ledger, clock: Clock, step_s: float, wait_s: float
) -> None:
    ipam = started(ledger, TINY_IPV4)
    for number in range(5):
        attach(ipam, f"c{number}")
    ipam.remove(key("c0"), [ip_address("10.244.1.2")])
    clock.pass_by(10.0)
    clock.wall += step_s
    again = started(ledger, TINY_IPV4)
    if wait_s:
        with pytest.raises(PoolCooling) as refused:
            again.take(())
        assert refused.value.wait_s == pytest.approx(wait_s)
    clock.pass_by(wait_s)
    assert attach(again, "new") == ("10.244.1.2",)


def test_a_step_of_the_clock_does_nothing_to_a_process_that_runs(
    ledger: Ledger, clock: Clock
) -> None:
    ipam = started(ledger, TINY_IPV4)
    for number in range(5):
        attach(ipam, f"c{number}")
    ipam.remove(key("c0"), [ip_address("10.244.1.2")])
    clock.wall -= 86400.0
    clock.pass_by(COOLDOWN_S)
    assert attach(ipam, "new") == ("10.244.1.2",)


_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.just(0)),
        st.tuples(st.just("remove"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.sampled_from([1, 10, 40])),
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=_CHANGES)
def test_a_restart_is_not_noticed(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int]]
) -> None:
    """After any history, a new process gives the addresses that the old one would have given."""
    ledger = Ledger(tmp_path_factory.mktemp("restart") / "agent.db")
    clock = Clock()
    with patch.object(ipam_module, "time", clock):
        ipam = started(ledger, TINY_IPV4)
        live: list[tuple[str, tuple[str, ...]]] = []
        for number, (verb, value) in enumerate(changes):
            clock.pass_by(0.001)
            if verb == "wait":
                clock.pass_by(value)
            elif verb == "remove" and live:
                name, addresses = live.pop(value % len(live))
                ipam.remove(key(name), map(ip_address, addresses))
            elif verb == "add":
                _try_to_attach(ipam, f"c{number}", live)
        again = started(ledger, TINY_IPV4)
        assert used(again) == used(ipam)
        assert _future(again, clock) == _future(ipam, clock)
    ledger.close()


def _try_to_attach(ipam: Ipam, name: str, live: list[tuple[str, tuple[str, ...]]]) -> None:
    try:
        live.append((name, attach(ipam, name)))
    except AddressError:
        return


def _future(ipam: Ipam, clock: Clock) -> list[Any]:
    """Return what *ipam* would give next, and after what wait, without writing it down."""
    moment = clock.ticks
    given: list[Any] = []
    for _ in range(12):
        try:
            given.append(str(ipam.take(())[0]))
        except PoolCooling as error:
            given.append(round(error.wait_s, 3))
            clock.ticks += error.wait_s
        except PoolExhausted:
            given.append("exhausted")
    clock.ticks = moment
    return given


# --- other subnets ------------------------------------------------------------------------------


def test_other_subnets_and_back_again(ledger: Ledger) -> None:
    ipam = started(ledger, SUBNET_IPV4)
    attach(ipam, "c1")
    other = ip_network("10.244.9.0/24")
    ipam.set_subnets({Family.IPV4: other})
    assert used(ipam) == {Family.IPV4: 0}
    assert attach(ipam, "c2") == ("10.244.9.2",)
    # The old pod goes while its address lies in no pool.
    ipam.remove(key("c1"), [ip_address("10.244.1.2")])
    assert used(ipam) == {Family.IPV4: 1}
    ipam.set_subnets({Family.IPV4: SUBNET_IPV4})
    assert used(ipam) == {Family.IPV4: 0}
    assert attach(ipam, "c3") == ("10.244.1.3",)
    assert held(ledger) == {"10.244.9.2": "c2", "10.244.1.3": "c3"}


def test_the_same_subnets_again_change_nothing(ledger: Ledger) -> None:
    ipam = started(ledger, SUBNET_IPV4)
    taken = ipam.take(())  # held in memory, not yet written down
    ipam.set_subnets({Family.IPV4: SUBNET_IPV4})
    assert used(ipam) == {Family.IPV4: 1}
    ipam.put_back(taken)
    assert used(ipam) == {Family.IPV4: 0}
