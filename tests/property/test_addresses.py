"""The address pool against a naive one that keeps lists: whatever happens, both do the same."""

from ipaddress import ip_network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from podway.compute.addresses import AddressError, AddressPool, PoolCooling, PoolExhausted
from podway.model.addresses import IPAddress, IPNetwork

COOLDOWN_S = 10

SUBNETS = ["10.0.0.4/30", "10.0.0.8/29", "10.0.0.16/28", "10.0.0.4/31", "fd00::8/125", "fd00::/64"]


class NaivePool:
    """What a pool is, without any cleverness: three lists."""

    def __init__(self, subnet: IPNetwork) -> None:
        # A few addresses are enough of a huge subnet: the machine never takes more.
        reserved_at_end = 1 if subnet.version == 4 else 0
        count = min(subnet.num_addresses - reserved_at_end, 400)
        self.all = [subnet.network_address + offset for offset in range(2, count)]
        self.fresh = list(self.all)
        self.held: list[IPAddress] = []
        self.released: list[tuple[IPAddress, int]] = []

    def next(self, now: int) -> IPAddress | type[AddressError]:
        if self.fresh:
            return self.fresh[0]
        if not self.released:
            return PoolExhausted
        address, released = self.released[0]
        return address if now >= released + COOLDOWN_S else PoolCooling

    def hold(self, address: IPAddress) -> None:
        self.fresh = [item for item in self.fresh if item != address]
        self.released = [item for item in self.released if item[0] != address]
        self.held.append(address)

    def release(self, address: IPAddress, now: int) -> None:
        self.held.remove(address)
        self.released.append((address, now))


class PoolMachine(RuleBasedStateMachine):
    @initialize(subnet=st.sampled_from(SUBNETS))
    def begin(self, subnet: str) -> None:
        self.subnet = ip_network(subnet)
        self.pool = AddressPool(self.subnet, COOLDOWN_S)
        self.naive = NaivePool(self.subnet)
        self.now = 0

    @rule(seconds=st.integers(0, COOLDOWN_S + 1))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        for _ in range(count):
            expected = self.naive.next(self.now)
            if isinstance(expected, type):
                with pytest.raises(expected) as caught:
                    self.pool.take(self.now)
                assert type(caught.value) is expected
                return
            given = self.pool.take(self.now)
            assert given not in self.naive.held
            assert given == expected
            self.naive.hold(given)

    @rule(offset=st.integers(-2, 20))
    def ask_for(self, offset: int) -> None:
        address = self.subnet.network_address + offset
        if address in self.naive.all and address not in self.naive.held:
            assert self.pool.take_this(address) == address
            self.naive.hold(address)
        else:
            with pytest.raises(AddressError):
                self.pool.take_this(address)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.naive.held:
            address = data.draw(st.sampled_from(self.naive.held))
            self.pool.release(address, self.now)
            self.naive.release(address, self.now)

    @rule(offset=st.integers(-2, 20))
    def release_what_nobody_holds(self, offset: int) -> None:
        address = self.subnet.network_address + max(0, offset)
        if address not in self.naive.held:
            self.pool.release(address, self.now)

    @rule(cursor_kept=st.booleans())
    def restart(self, *, cursor_kept: bool) -> None:
        """The ledger remembers who holds what, and releases in their order."""
        cursor = self.pool.cursor if cursor_kept else 0
        self.pool = AddressPool(self.subnet, COOLDOWN_S, cursor)
        for address in self.naive.held:
            self.pool.hold(address)
        for address, released in self.naive.released:
            self.pool.cool(address, released)

    @invariant()
    def counts_agree(self) -> None:
        assert self.pool.used == len(self.naive.held)
        resting = [item for item in self.naive.released if self.now < item[1] + COOLDOWN_S]
        assert self.pool.cooling(self.now) == len(resting)

    def teardown(self) -> None:
        """In the end every address that nobody holds can be had, once, oldest release last."""
        if self.pool.size > 100:
            return
        self.now += COOLDOWN_S
        rest = [*self.naive.fresh, *(address for address, _ in self.naive.released)]
        assert [self.pool.take(self.now) for _ in rest] == rest
        with pytest.raises(PoolExhausted):
            self.pool.take(self.now)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=100, stateful_step_count=40)
