"""Two worlds with one face: the kernel in memory, and the real one in a namespace of its own.

Each has an uplink ``eth0`` (192.0.2.1/24, 2001:db8::1/64) that is not podway's. A test acts through
`kernel`, lets others act through `tamper_*`, and asks the witness what is there.
"""

import select
import time
from collections.abc import Callable
from typing import Protocol

from netns.conftest import Netns
from netns.kernel.outsiders import Outsider
from netns.kernel.witnesses import Witness, expected_facts
from podway.diff.compare import Difference, compare
from podway.diff.operations import Operation, Verb
from podway.kernel.fake import FakeKernel
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import Kernel, KernelError, KernelEvent
from podway.model.kernel import KernelObject, Key, PodSide, link_key

PATIENCE_S = 10
UPLINK = "eth0"
UPLINK_ADDRESSES = ("192.0.2.1/24", "2001:db8::1/64")


class World(Protocol):
    """A kernel under test, and everybody else who uses it."""

    @property
    def kernel(self) -> Kernel:
        """The kernel under test."""

    def pod_netns(self) -> str:
        """Return the path of a fresh namespace for a pod."""

    def destroy_pod_netns(self, path: str) -> None:
        """End a pod's namespace."""

    def check_pod(self, pod: PodSide) -> list[str]:
        """Return what is not as *pod* says."""

    def tamper_set(self, item: KernelObject) -> None:
        """Write *item* as another program."""

    def tamper_delete(self, item: KernelObject) -> None:
        """Delete *item* as another program."""

    def tamper_up(self, dev: str, *, up: bool) -> None:
        """Bring a device up or down as another program."""

    def assert_there(self, item: KernelObject) -> None:
        """Have the witness find *item*."""

    def assert_gone(self, key: Key) -> None:
        """Have the witness find nothing at *key*."""


class FakeWorld:
    """The kernel in memory; its own state is the witness."""

    def __init__(self) -> None:
        self.kernel = FakeKernel()
        self.kernel.add_device(UPLINK, addresses=UPLINK_ADDRESSES)
        self.kernel.drain()
        self._pods = 0

    def pod_netns(self) -> str:
        self._pods += 1
        path = f"/run/netns/fake-{self._pods}"
        self.kernel.create_netns(path)
        return path

    def destroy_pod_netns(self, path: str) -> None:
        self.kernel.destroy_netns(path)

    def check_pod(self, pod: PodSide) -> list[str]:
        return self.kernel.check_pod(pod)

    def tamper_set(self, item: KernelObject) -> None:
        self.kernel.tamper_set(item)

    def tamper_delete(self, item: KernelObject) -> None:
        self.kernel.tamper_delete(item.key)

    def tamper_up(self, dev: str, *, up: bool) -> None:
        if up:
            self.kernel.tamper_link_up(dev)
        else:
            self.kernel.tamper_link_down(dev)

    def assert_there(self, item: KernelObject) -> None:
        found = self.kernel.stack.find(item.key)
        assert found is not None
        assert compare(item, found) is Difference.NONE

    def assert_gone(self, key: Key) -> None:
        assert self.kernel.stack.find(key) is None


class RealWorld:
    """The kernel of this machine, in a namespace that the test made."""

    def __init__(self, netns: Netns, make_netns: Callable[[], Netns]) -> None:
        self.netns = netns
        netns.ip("link", "add", UPLINK, "type", "veth", "peer", "name", "eth0-peer")
        for dev in (UPLINK, "eth0-peer"):
            # Nothing may come to pass by itself while a test looks.
            netns.ip("link", "set", dev, "addrgenmode", "none")
            netns.ip("link", "set", dev, "up")
        for address in UPLINK_ADDRESSES:
            netns.ip(
                "address", "add", address, "dev", UPLINK, *(["nodad"] if ":" in address else [])
            )
        self._await_carrier()
        self.kernel = NodeKernel(netns.fd)
        self.outsider, self.witness = Outsider(netns), Witness(netns)
        self._make_netns = make_netns
        self._pods: dict[str, Netns] = {}

    def _await_carrier(self) -> None:
        """Wait until the kernel has noticed that the uplink is connected, which it tells later."""
        deadline = time.monotonic() + PATIENCE_S
        while "state UP" not in self.netns.ip("link", "show", UPLINK):
            assert time.monotonic() < deadline, "the uplink has no carrier"

    def pod_netns(self) -> str:
        pod = self._make_netns()
        self._pods[pod.path] = pod
        return pod.path

    def destroy_pod_netns(self, path: str) -> None:
        self._pods[path].ip("link", "delete", "eth0")

    def check_pod(self, pod: PodSide) -> list[str]:
        return self.kernel.check_pod(pod)

    def tamper_set(self, item: KernelObject) -> None:
        self.outsider.set(item, exists=self.witness.facts(item.key) is not None)

    def tamper_delete(self, item: KernelObject) -> None:
        self.outsider.delete(item)

    def tamper_up(self, dev: str, *, up: bool) -> None:
        self.outsider.set_up(dev, up=up)

    def assert_there(self, item: KernelObject) -> None:
        facts = self.witness.facts(item.key)
        assert facts is not None
        expected = expected_facts(item)
        assert {name: facts[name] for name in expected} == expected

    def assert_gone(self, key: Key) -> None:
        assert self.witness.facts(key) is None


def create(item: KernelObject) -> Operation:
    """Return the operation that creates *item*."""
    return Operation(Verb.CREATE, item.key, item)


def change(desired: KernelObject, observed: KernelObject) -> Operation:
    """Return the operation that turns *observed* into *desired*."""
    return Operation(Verb.CHANGE, desired.key, desired, observed)


def creations(*items: KernelObject) -> list[Operation]:
    """Return the operations that create *items*."""
    return [create(item) for item in items]


def delete(item: KernelObject) -> Operation:
    """Return the operation that deletes *item*."""
    return Operation(Verb.DELETE, item.key, None, item)


def apply(world: World, *operations: Operation) -> None:
    """Carry out *operations*; each must succeed."""
    assert [str(error) for error in world.kernel.apply(operations) if error is not None] == []


def build(world: World, *items: KernelObject) -> None:
    """Create *items*, one after the other in one batch."""
    apply(world, *(create(item) for item in items))


def refusal(world: World, operation: Operation) -> KernelError:
    """Carry out *operation*, which must fail; return why."""
    (error,) = world.kernel.apply([operation])
    assert error is not None
    return error


def read_one(world: World, key: Key) -> KernelObject | None:
    """Return what the kernel under test reads at *key*."""
    return world.kernel.read([key]).get(key)


def wait_for(world: World, *expected: KernelEvent) -> list[KernelEvent]:
    """Drain until all of *expected* were seen; return everything that came."""
    seen: list[KernelEvent] = []
    while missing := [event for event in expected if event not in seen]:
        seen += wait_for_more(world, f"{missing} did not come, {seen} did")
    return seen


def wait_for_more(world: World, complaint: str = "nothing was told") -> list[KernelEvent]:
    """Drain what comes next."""
    poll = select.poll()
    poll.register(world.kernel.fileno(), select.POLLIN)
    assert poll.poll(PATIENCE_S * 1000), complaint
    return world.kernel.drain()


def forget(world: World) -> None:
    """Drain what has come so far."""
    world.kernel.drain()


def has_dev(world: World, dev: str) -> bool:
    """Tell whether the witness finds device *dev*."""
    try:
        world.assert_gone(link_key(dev))
    except AssertionError:
        return True
    return False
