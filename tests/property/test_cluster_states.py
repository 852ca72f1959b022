"""From states of the cluster to what the kernel holds, whatever the way from one to the next.

`cluster_states` says what that is in each state; `walks` turns each row of it into 48 tests.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

import pytest

from podway.diff.compare import Difference, compare
from podway.diff.tracker import Tracker
from podway.kernel.fake import FakeKernel
from podway.model.kernel import KernelObject, Route, by_key
from property.cluster_states import CASES, PLACES, PODS, THREE, VXLAN, cluster, node, shown, state
from property.walks import Step, Walk, walks
from unit.compute.clusters import UPLINK


class Agent:
    """As much of the agent as it takes: says what is wanted, applies plans, starts anew."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.parts: dict[tuple[str, ...], Sequence[KernelObject]] = {}
        self.tracker = Tracker()

    def restart(self) -> None:
        self.tracker = Tracker()
        for source, part in self.parts.items():
            self.tracker.desire(source, part)
        self.tracker.observe_all(self.kernel.read(list(self.tracker.wanted())))
        self.tracker.sweeping = True

    def take(self, step: Step) -> None:
        for source, part in step.words:
            self.parts[source] = part
            self.tracker.desire(source, part)
        # Midway something may be wanted before its device is: it fails, and is retried.
        for _ in range(3):
            self.tracker.retry()
            operations = self.tracker.plan()
            for operation, error in zip(operations, self.kernel.apply(operations), strict=True):
                self.tracker.record(operation, error, now=0.0)

    def repeat(self, step: Step) -> None:
        """Say it all again: nothing is left to do."""
        for source, _ in step.words:
            self.tracker.desire(source, self.parts[source])
        assert self.tracker.plan() == []


@pytest.fixture
def kernel() -> Iterator[FakeKernel]:
    kernel = FakeKernel()
    kernel.add_device("eth0", addresses=[str(address) for address in UPLINK.addresses])
    for number in PODS:
        kernel.create_netns(f"/run/netns/pod-{number}")
    yield kernel
    kernel.close()


def check(agent: Agent, lines: frozenset[str]) -> None:
    """Check that the kernel shows *lines*, and holds exactly what is wanted."""
    assert shown(agent.kernel.stack.objects.values()) == lines
    wanted = by_key(*(item for part in agent.parts.values() for item in part))
    for key in wanted:
        desired, found = agent.tracker.desired(key), agent.kernel.stack.find(key)
        assert desired is not None
        assert found is not None
        assert compare(desired, found) is Difference.NONE
    assert agent.kernel.read(()).keys() <= wanted.keys()
    assert agent.tracker.failures == {}


def all_walks() -> Iterator[object]:
    for name, states in CASES.items():
        empty = state(cluster(PLACES.get(name, VXLAN)))
        for walk in walks(states, empty):
            yield pytest.param(walk, id=f"{name} ({walk.name})")


@pytest.mark.parametrize("walk", list(all_walks()))
def test_the_way_does_not_matter(walk: Walk, kernel: FakeKernel) -> None:
    agent = Agent(kernel)
    agent.restart()
    for step in walk.steps:
        if walk.restarts:
            agent.restart()
        agent.take(step)
        agent.repeat(step)
        if step.lines is not None:
            check(agent, step.lines)


def test_what_another_agent_left_behind_goes_and_what_is_not_ours_stays(
    kernel: FakeKernel,
) -> None:
    """A peer was removed while the agent was down; the administrator has a route of her own."""
    hers = Route(
        dst=ip_network("203.0.113.0/24"), dev="eth0", via=ip_address("192.0.2.254"), protocol=4
    )
    kernel.tamper_set(hers)
    before = Agent(kernel)
    before.restart()
    before.take(Step(tuple(cluster(VXLAN, node(2), node(3), pods=[5]).items()), None))
    after = Agent(kernel)
    after.parts = dict(cluster(VXLAN, node(3)))
    after.restart()
    after.take(Step((), None))
    her_line = "route 203.0.113.0/24 via 192.0.2.254 dev eth0"
    assert shown(kernel.stack.objects.values()) == state({}, THREE).lines | {her_line}
    assert kernel.stack.find(hers.key) == hers
