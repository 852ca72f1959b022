"""The work for one change depends on the change, not on the size of the cluster.

Nothing here looks at a clock: what is counted are comparisons and function calls, and they have to
be the same for 100 peers and for 1,000.
"""

import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from types import FrameType

import pytest

from podway.compute.backends import backend_of
from podway.compute.node import compute_endpoint, compute_own, compute_peer
from podway.diff import tracker as tracker_module
from podway.diff.compare import Difference, compare
from podway.diff.tracker import Tracker
from podway.model.kernel import KernelObject, Key
from podway.model.nodes import Identity, Lease, Node
from unit.compute.clusters import IPV4, endpoint_of, network_of, place_of

SIZES = (100, 1000)
CHANGED = 77
# Room for thousands of nodes.
PLACE = place_of(network_of(further=("10.245.0.0/16", "10.246.0.0/15", "10.248.0.0/13")))
_SUBNETS = int(IPv4Address("10.244.0.0"))
_PUBLIC = int(IPv4Address("198.18.0.0"))


def peer_of(number: int, generation: int = 0) -> tuple[KernelObject, ...]:
    """Return what peer *number* adds; each generation of it has another public address."""
    name = f"peer-{number}"
    lease = Lease(
        subnet=IPv4Network((_SUBNETS + (number << 8), 24)),
        public_ip=IPv4Address(_PUBLIC + number + (generation << 12)),
        data=backend_of(PLACE.network).publish(PLACE.network, Identity(name=name), IPV4),
    )
    plan = compute_peer(PLACE, Node(name=name, backend="vxlan", leases=(lease,)))
    assert not plan.skipped
    return plan.objects


def pod_of(number: int) -> tuple[KernelObject, ...]:
    return compute_endpoint(PLACE, endpoint_of(PLACE, number))


def carry_out(tracker: Tracker) -> set[Key]:
    """Make a plan, record it as done, and return the keys that it touched."""
    operations = tracker.plan()
    for operation in operations:
        tracker.record(operation, None, now=0.0)
    return {operation.key for operation in operations}


def settled_with(peers: int) -> Tracker:
    tracker = Tracker()
    tracker.sweeping = True
    tracker.desire(("node",), compute_own(PLACE))
    for number in range(2, peers + 2):
        tracker.desire(("peer", str(number)), peer_of(number))
        tracker.desire(("pod", str(number)), pod_of(number))
    carry_out(tracker)
    assert not tracker.plan()
    return tracker


def keys_of(*parts: tuple[KernelObject, ...]) -> set[Key]:
    return {item.key for part in parts for item in part}


class Compared:
    """Counts what the tracker compares."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    def __call__(self, desired: KernelObject, observed: KernelObject) -> Difference:
        self.keys.append(desired.key)
        return compare(desired, observed)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compared:
    counter = Compared()
    monkeypatch.setattr(tracker_module, "compare", counter)
    return counter


def calls_of(action: Callable[[], object]) -> int:
    """Return how many functions, Python's and C's, are called during *action*."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("peers", SIZES)
def test_one_changed_peer_touches_its_own_keys_alone(peers: int, compared: Compared) -> None:
    tracker = settled_with(peers)
    compared.keys.clear()
    tracker.desire(("peer", str(CHANGED)), peer_of(CHANGED, generation=1))
    changed = keys_of(peer_of(CHANGED))
    touched = carry_out(tracker)
    assert touched
    assert touched <= changed
    assert set(compared.keys) <= changed
    assert len(compared.keys) <= 2 * len(changed)


@pytest.mark.parametrize("peers", SIZES)
def test_an_unchanged_part_is_neither_planned_nor_compared(peers: int, compared: Compared) -> None:
    tracker = settled_with(peers)
    compared.keys.clear()
    tracker.desire(("peer", str(CHANGED)), peer_of(CHANGED))
    tracker.desire(("node",), compute_own(PLACE))
    tracker.desire(("pod", "5"), pod_of(5))
    assert not tracker.pending
    assert tracker.plan() == []
    assert compared.keys == []


def change_a_peer(tracker: Tracker) -> None:
    tracker.desire(("peer", str(CHANGED)), peer_of(CHANGED, generation=1))
    carry_out(tracker)


def remove_a_peer(tracker: Tracker) -> None:
    tracker.desire(("peer", str(CHANGED)), ())
    carry_out(tracker)


def add_a_peer(tracker: Tracker) -> None:
    tracker.desire(("peer", "new"), peer_of(3000))
    carry_out(tracker)


def remove_a_pod(tracker: Tracker) -> None:
    tracker.desire(("pod", "5"), ())
    carry_out(tracker)


def add_a_pod(tracker: Tracker) -> None:
    tracker.desire(("pod", "new"), pod_of(3000))
    carry_out(tracker)


def lose_a_route(tracker: Tracker) -> None:
    key = next(key for key in tracker.part(("peer", str(CHANGED))) if key.kind == "route")
    tracker.observe(key, None)
    carry_out(tracker)


def lose_a_pods_device(tracker: Tracker) -> None:
    name = endpoint_of(PLACE, 5).host_ifname
    tracker.observe_device(name, {})
    carry_out(tracker)


def fail_and_retry(tracker: Tracker) -> None:
    tracker.desire(("peer", str(CHANGED)), peer_of(CHANGED, generation=1))
    for operation in tracker.plan():
        tracker.record(operation, OSError(16, "busy"), now=0.0)
    tracker.retry()
    carry_out(tracker)


@pytest.mark.parametrize(
    "change",
    [
        change_a_peer,
        remove_a_peer,
        add_a_peer,
        remove_a_pod,
        add_a_pod,
        lose_a_route,
        lose_a_pods_device,
        fail_and_retry,
    ],
    ids=lambda change: change.__name__.replace("_", " "),
)
def test_one_change_costs_the_same_in_a_small_and_in_a_large_cluster(
    change: Callable[[Tracker], None],
) -> None:
    costs = []
    for peers in SIZES:
        tracker = settled_with(peers)
        costs.append(calls_of(lambda tracker=tracker: change(tracker)))  # type: ignore[misc]
        assert not tracker.plan()
    small, large = costs
    assert 0 < large <= small * 1.1
