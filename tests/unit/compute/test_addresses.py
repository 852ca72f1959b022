"""The address pool: which address comes next, which is refused and why, and what survives."""

from collections.abc import Callable
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from podway.compute.addresses import (
    RELEASED_MAX,
    AddressError,
    AddressPool,
    PoolCooling,
    PoolExhausted,
)
from podway.model.addresses import IPAddress

COOLDOWN_S = 30.0
# Five pod addresses, .10 to .14: .8 is the VTEP's, .9 the bridge's, .15 the broadcast address.
TINY = "10.0.0.8/29"


def pool_of(subnet: str, cursor: int = 0) -> AddressPool:
    return AddressPool(ip_network(subnet), COOLDOWN_S, cursor)


def taken(pool: AddressPool, count: int, now: float = 0.0) -> list[str]:
    return [str(pool.take(now)) for _ in range(count)]


@pytest.mark.parametrize(
    ("subnet", "size", "addresses"),
    [
        pytest.param("10.244.1.0/24", 253, ["10.244.1.2", "10.244.1.3"], id="IPv4 /24"),
        pytest.param("10.0.0.8/29", 5, ["10.0.0.10", "10.0.0.11"], id="IPv4 /29"),
        pytest.param("10.0.0.4/30", 1, ["10.0.0.6"], id="IPv4 /30: one pod"),
        pytest.param("10.0.0.4/31", 0, [], id="IPv4 /31: none"),
        pytest.param("10.0.0.4/32", 0, [], id="IPv4 /32: none"),
        pytest.param("fd00:1::/64", 2**64 - 2, ["fd00:1::2", "fd00:1::3"], id="IPv6 /64"),
        pytest.param("fd00:1::4/126", 2, ["fd00:1::6", "fd00:1::7"], id="IPv6 /126: two pods"),
        pytest.param("fd00:1::4/127", 0, [], id="IPv6 /127: none"),
    ],
)
def test_addresses_come_in_order(subnet: str, size: int, addresses: list[str]) -> None:
    pool = pool_of(subnet)
    assert pool.size == size
    assert taken(pool, len(addresses)) == addresses
    assert pool.used == len(addresses)


@pytest.mark.parametrize("subnet", ["10.244.1.0/24", "10.0.0.4/30", "10.0.0.4/31", "fd00::4/126"])
def test_a_subnet_gives_every_address_once_and_then_says_that_it_is_full(subnet: str) -> None:
    pool = pool_of(subnet)
    given = taken(pool, pool.size)
    assert len(set(given)) == pool.size
    with pytest.raises(PoolExhausted) as caught:
        pool.take(0.0)
    assert subnet in str(caught.value)
    assert str(pool.size) in str(caught.value)
    assert pool.used == pool.size


def test_a_full_pool_says_what_to_do() -> None:
    with pytest.raises(PoolExhausted, match=r"remove pods.*SubnetLen"):
        pool_of("10.0.0.4/31").take(0.0)


def test_a_released_address_rests_and_then_waits_behind_the_fresh_ones() -> None:
    pool = pool_of(TINY)
    first, second = pool.take(0.0), pool.take(0.0)
    pool.release(second, 1.0)
    pool.release(first, 2.0)
    # Long rested, but fresh ones are left.
    assert taken(pool, 3, 100.0) == ["10.0.0.12", "10.0.0.13", "10.0.0.14"]
    assert taken(pool, 2, 100.0) == [str(second), str(first)]


@pytest.mark.parametrize(
    ("now", "wait_s"),
    [
        pytest.param(5.0, 30.0, id="at once"),
        pytest.param(34.5, 0.5, id="nearly rested"),
        pytest.param(4.0, 31.0, id="a clock that went back"),
    ],
)
def test_no_address_is_given_before_it_has_rested(now: float, wait_s: float) -> None:
    pool = pool_of("10.0.0.4/30")
    pool.release(pool.take(0.0), 5.0)
    with pytest.raises(PoolCooling) as caught:
        pool.take(now)
    assert caught.value.wait_s == pytest.approx(wait_s)
    assert pool.used == 0
    assert pool.cooling(now) == 1
    assert str(pool.take(35.0)) == "10.0.0.6"
    assert pool.cooling(35.0) == 0


def test_an_address_rests_from_its_last_release() -> None:
    pool = pool_of("10.0.0.4/30")
    pool.release(pool.take(0.0), 0.0)
    pool.release(pool.take(30.0), 40.0)
    with pytest.raises(PoolCooling):
        pool.take(69.0)
    assert str(pool.take(70.0)) == "10.0.0.6"


@pytest.mark.parametrize(
    ("asked", "prepare", "part"),
    [
        pytest.param("10.0.1.1", None, "not in this node's subnet 10.0.0.8/29", id="elsewhere"),
        pytest.param("fd00::1", None, "not in this node's subnet", id="other family"),
        pytest.param("::a00:a", None, "not in this node's subnet", id="same number, other family"),
        pytest.param("10.0.0.8", None, "reserved", id="the VTEP's"),
        pytest.param("10.0.0.9", None, "reserved", id="the bridge's"),
        pytest.param("10.0.0.15", None, "reserved", id="broadcast"),
        pytest.param("10.0.0.10", lambda pool: pool.take(0.0), "in use by another pod", id="given"),
        pytest.param(
            "10.0.0.12",
            lambda pool: pool.hold(IPv4Address("10.0.0.12")),
            "in use by another pod",
            id="held since before the restart",
        ),
        pytest.param(
            "10.0.0.12",
            lambda pool: pool.take_this(IPv4Address("10.0.0.12")),
            "in use by another pod",
            id="asked for twice",
        ),
    ],
)
def test_a_requested_address_that_cannot_be_had(
    asked: str, prepare: Callable[[AddressPool], object] | None, part: str
) -> None:
    pool = pool_of(TINY)
    if prepare is not None:
        prepare(pool)
    used = pool.used
    with pytest.raises(AddressError) as caught:
        pool.take_this(ip_address(asked))
    assert asked in str(caught.value)
    assert part in str(caught.value)
    assert pool.used == used


def test_a_requested_address_is_stepped_over_by_the_others() -> None:
    pool = pool_of(TINY)
    assert str(pool.take_this(ip_address("10.0.0.11"))) == "10.0.0.11"
    assert taken(pool, 4) == ["10.0.0.10", "10.0.0.12", "10.0.0.13", "10.0.0.14"]
    with pytest.raises(PoolExhausted):
        pool.take(0.0)


def test_a_requested_address_needs_no_rest() -> None:
    pool = pool_of(TINY)
    address = pool.take(0.0)
    pool.release(address, 1.0)
    assert pool.take_this(address) == address
    assert pool.cooling(1.0) == 0
    assert address not in taken_addresses(pool)


def taken_addresses(pool: AddressPool) -> set[IPAddress]:
    found: set[IPAddress] = set()
    while pool.used < pool.size:
        found.add(pool.take(1e9))
    return found


def test_a_requested_address_loses_its_zone() -> None:
    pool = pool_of("fd00::/64")
    assert str(pool.take_this(ip_address("fd00::5%eth0"))) == "fd00::5"


def test_release_of_what_nobody_holds_changes_nothing() -> None:
    pool = pool_of(TINY)
    pool.release(ip_address("10.0.0.12"), 0.0)
    pool.release(ip_address("10.0.0.8"), 0.0)
    address = pool.take(0.0)
    pool.release(address, 1.0)
    pool.release(address, 25.0)
    assert pool.used == 0
    assert pool.cooling(1.0) == 1
    assert pool.cooling(31.0) == 0


# --- after a restart ----------------------------------------------------------------------------


def test_a_restored_pool_goes_on_where_the_old_one_stopped() -> None:
    old = pool_of(TINY)
    kept, first, second = (old.take(0.0) for _ in range(3))
    old.release(second, 1.0)
    old.release(first, 2.0)
    new = AddressPool(old.subnet, COOLDOWN_S, old.cursor)
    new.hold(kept)
    new.cool(second, 1.0)
    new.cool(first, 2.0)
    assert new.cursor == old.cursor
    assert (new.used, new.cooling(3.0)) == (1, 2)
    assert taken(new, 2, 3.0) == ["10.0.0.13", "10.0.0.14"]
    with pytest.raises(PoolCooling):
        new.take(30.9)
    assert taken(new, 2, 100.0) == [str(second), str(first)]


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param(0, id="lost"),
        pytest.param(int(ip_address("10.0.0.13")), id="half way"),
        pytest.param(int(ip_address("10.0.0.15")), id="at the end"),
        pytest.param(int(ip_address("10.9.9.9")), id="of another subnet"),
    ],
)
def test_whatever_the_cursor_says_no_address_is_lost_or_given_twice(cursor: int) -> None:
    pool = pool_of(TINY, cursor)
    held = ip_address("10.0.0.12")
    pool.hold(held)
    given = taken(pool, pool.size - 1)
    assert len(set(given)) == len(given)
    assert str(held) not in given
    with pytest.raises(PoolExhausted):
        pool.take(0.0)


def test_an_address_is_held_in_whatever_order_the_ledger_tells_its_story() -> None:
    address = ip_address("10.0.0.6")
    for order in ("hold cool", "cool hold"):
        pool = pool_of("10.0.0.4/30")
        for step in order.split():
            if step == "hold":
                pool.hold(address)
            else:
                pool.cool(address, 0.0)
        assert (pool.used, pool.cooling(0.0)) == (1, 0)
        with pytest.raises(PoolExhausted):
            pool.take(1e9)


@pytest.mark.parametrize("foreign", ["10.0.0.8", "10.0.0.15", "10.9.9.9", "fd00::1"])
def test_what_is_no_pod_address_of_the_subnet_is_neither_held_nor_given(foreign: str) -> None:
    pool = pool_of(TINY)
    pool.hold(ip_address(foreign))
    pool.cool(ip_address(foreign), 0.0)
    assert (pool.used, pool.cooling(0.0)) == (0, 0)
    assert foreign not in taken(pool, pool.size, 1e9)


def test_a_huge_subnet_costs_no_more_than_a_small_one() -> None:
    """Count what is stepped over, instead of taking the time: 2^64 addresses, four in use."""
    pool = pool_of("fd00::/64", cursor=int(ip_address("fd00::ffff:ffff:ffff:ffff")) + 1)
    for tail in (2, 3, 4):
        pool.hold(ip_address(f"fd00::{tail}"))
    assert str(pool.take(0.0)) == "fd00::5"
    assert pool.cursor == int(ip_address("fd00::6"))
    pool.take_this(ip_address("fd00::ffff:ffff:ffff:fffe"))
    assert str(pool.take(0.0)) == "fd00::6"


def test_released_addresses_of_an_endless_pool_do_not_grow_for_ever() -> None:
    pool = AddressPool(ip_network("fd00:0:0:1::/64"), 30.0)
    given = set()
    for number in range(3 * RELEASED_MAX):
        now = float(number)
        address = pool.take(now)
        given.add(address)
        pool.release(address, now)
    # What rests within one cooldown comes on top.
    assert len(given) <= RELEASED_MAX + 30
