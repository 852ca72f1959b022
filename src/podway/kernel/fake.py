"""A kernel in memory, for tests of whatever asks a `Kernel` for something.

In: the calls of `podway.kernel.protocol.Kernel`, and from tests the calls of *other* programs:
`tamper_set`, `tamper_delete`, `tamper_link_down`, ... Out: what the real kernel would answer, with
its rules (`fake_stack`) and its habits in notifying. One suite of tests runs against this one and
the real one, so what is asserted here holds there.

    kernel = FakeKernel()
    kernel.add_device("eth0", addresses=("192.0.2.1/24",))
    kernel.create_netns("/run/netns/pod")
    kernel.fail_next(Verb.CREATE, "route", errno.EBUSY)
    kernel.apply([...])
    kernel.tamper_delete(link_key("podway.1"))
    kernel.drain()      # [DeviceChanged("podway.1"), Seen(...), ...]
"""

import errno as errnos
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import ip_interface

from msgspec.structs import replace

from podway.compute.onlink import is_on_link
from podway.diff.operations import Operation, Verb
from podway.kernel.fake_events import News, devices_that_are_ours, tell
from podway.kernel.fake_pods import FakeNamespaces
from podway.kernel.fake_stack import FakeStack
from podway.kernel.fake_sysctls import Refused
from podway.kernel.known import Known
from podway.kernel.ownership import is_our_link, is_ours
from podway.kernel.protocol import SILENT_KINDS, KernelError, KernelEvent, Seen
from podway.model.addresses import Family, IPAddress, everything, family_of
from podway.model.kernel import (
    Address,
    KernelObject,
    Key,
    Link,
    PodSide,
    Route,
    Rule,
    Veth,
    default_metric,
    link_key,
)
from podway.model.nodes import Uplink


class FakeKernel:
    """A `Kernel` of one namespace, in memory.

    Args:
        sysctls: values that differ from those of a new namespace, or that it lacks; see
            `fake_sysctls`.

    Attributes:
        stack: the state, to look at.
        log: every operation that succeeded, in order.
        batches: number of calls of `apply`.
    """

    def __init__(self, sysctls: Mapping[str, str] | None = None) -> None:
        self.stack = FakeStack(sysctls)
        self.log: list[Operation] = []
        self.batches = 0
        self._pods = FakeNamespaces()
        self._known = Known()
        self._news = News()
        self._failures: dict[tuple[Verb, str], deque[int]] = {}
        self._read_failures: deque[int] = deque()

    # --- the kernel -----------------------------------------------------------------------------

    def read(self, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return everything of ours, and whatever else has a key in *wanted*."""
        self._fail_read("read the kernel")
        ours = {link.name for link in self.stack.links() if is_our_link(link)}
        state = {
            key: item
            for key, item in self.stack.objects.items()
            if is_ours(item, ours) or (key in wanted and not isinstance(item, Rule))
        }
        state.update({seen.key: seen.found for seen in self.check_sysctls(wanted) if seen.found})
        self._known.put_all(state)
        return state

    def read_dev(self, dev: str, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return the same for device *dev* alone."""
        self._fail_read(f"read device {dev}")
        link = self.stack.objects.get(link_key(dev))
        ours = {dev} if isinstance(link, Link) and is_our_link(link) else set()
        there = self.stack.on(dev) + ([link] if link is not None else [])
        state = {item.key: item for item in there if is_ours(item, ours)}
        found = {key: self.stack.find(key) for key in wanted}
        state.update({key: item for key, item in found.items() if item is not None})
        self._known.put_device(dev, state)
        return state

    def apply(self, operations: Sequence[Operation]) -> list[KernelError | None]:
        """Carry out *operations* in order; one entry per operation, None for success."""
        self.batches += 1
        self.stack.news.clear()
        results = [self._carry_out(operation) for operation in operations]
        self._tell_consequences()
        return results

    def read_uplink(self, dev: str) -> Uplink | None:
        """Return the device *dev* as uplink, or None when it does not exist."""
        link = self.stack.objects.get(link_key(dev))
        if not isinstance(link, Link):
            return None
        standing = [item for item in self.stack.on(dev) if isinstance(item, Address)]
        return Uplink(
            dev=dev, mtu=link.mtu or 0, addresses=tuple(item.address for item in standing)
        )

    def list_uplinks(self) -> tuple[Uplink, ...]:
        """Return every device, in the order in which they were made."""
        found = (self.read_uplink(link.name) for link in self.stack.links())
        return tuple(each for each in found if each is not None)

    def find_way(self, address: IPAddress) -> str | None:
        """Return the device by which the kernel would send to *address*, or None."""
        for uplink in self.list_uplinks():
            if is_on_link(uplink, address):
                return uplink.dev
        return self.find_uplink(family_of(address))

    def find_uplink(self, family: Family | None = None) -> str | None:
        """Return the device of *family*'s default route (of IPv4's, else of IPv6's), or None."""
        for each in Family if family is None else (family,):
            defaults = [
                item
                for item in self.stack.objects.values()
                if isinstance(item, Route) and item.dst == everything(each) and item.dev
            ]
            if defaults:
                return min(defaults, key=lambda route: route.metric).dev
        return None

    def check_sysctls(self, wanted: Collection[Key]) -> list[Seen]:
        """Return a `Seen` for what of *wanted* changes without notification."""
        seen = [Seen(key, self.stack.find(key)) for key in wanted if key.kind in SILENT_KINDS]
        for item in seen:
            self._known.put(item.key, item.found)
        return seen

    def find_forward_drops(self) -> tuple[str, ...]:
        """Return nothing: there are no tables of others in memory."""
        return ()

    def check_pod(self, pod: PodSide) -> list[str]:
        """Return what is not as *pod* says inside its namespace."""
        return self._pods.check(pod)

    def fileno(self) -> int:
        """Return a descriptor that is readable when `drain` has something."""
        return self._news.fileno()

    def drain(self) -> list[KernelEvent]:
        """Return what happened since the last call."""
        return self._news.take(self._known, self.stack.find)

    def close(self) -> None:
        """Close the descriptor; may be called twice."""
        self._news.close()

    # --- what a test arranges -------------------------------------------------------------------

    def add_device(
        self, name: str, *, mtu: int = 1500, addresses: Iterable[str] = (), up: bool = True
    ) -> None:
        """Put a device of somebody else's there, with *addresses* (``192.0.2.1/24``)."""
        self.tamper_set(Link(name=name, kind=Veth(), mtu=mtu, alias="", up=up))
        for address in addresses:
            self.tamper_set(Address(name, ip_interface(address)))

    def set_default_route(self, dev: str, via: IPAddress) -> None:
        """Give the namespace a default route of somebody else's (protocol 4, static)."""
        family = family_of(via)
        metric = default_metric(family)
        self.tamper_set(Route(dst=everything(family), dev=dev, via=via, metric=metric, protocol=4))

    def create_netns(self, path: str) -> FakeStack:
        """Make a pod's namespace known by *path*; return what is in it.

        Where *path* is a file, every other path to that file (``/proc/self/fd/7``) means it too.
        """
        return self._pods.create(path)

    def destroy_netns(self, path: str) -> None:
        """End a pod's namespace: its devices go, and with them their host ends."""
        for host_end in self._pods.destroy(path):
            self.tamper_delete(link_key(host_end))

    def netns(self, path: str) -> FakeStack:
        """Return what is in the namespace at *path*; KeyError without one."""
        return self._pods.stack(path)

    def fail_next(self, verb: Verb, kind: str, errno: int, times: int = 1) -> None:
        """Refuse the next *times* operations of *verb* on objects of *kind* ("route")."""
        self._failures.setdefault((verb, kind), deque()).extend([errno] * times)

    def fail_read(self, errno: int) -> None:
        """Let the next `read` or `read_dev` raise."""
        self._read_failures.append(errno)

    # --- what other programs do -----------------------------------------------------------------

    def tamper_set(self, item: KernelObject) -> None:
        """Write *item* as another program would.

        Raises:
            KernelError: the kernel's rules forbid it.
        """
        self._tamper(item.key, lambda: self.stack.write(item))

    def tamper_delete(self, key: Key) -> None:
        """Delete what has *key* as another program would."""
        self._tamper(key, lambda: self._delete(key))

    def tamper_link_down(self, dev: str) -> None:
        """Take device *dev* down."""
        self.tamper_set(replace(self.stack.link(dev), up=False))

    def tamper_link_up(self, dev: str) -> None:
        """Bring device *dev* up."""
        self.tamper_set(replace(self.stack.link(dev), up=True))

    def overrun(self) -> None:
        """Lose all notifications that are waiting."""
        self._news.lose()

    # --- inside: writing ------------------------------------------------------------------------

    def _carry_out(self, operation: Operation) -> KernelError | None:
        planned = self._failures.get((operation.verb, operation.key.kind))
        if planned:
            return KernelError(planned.popleft(), str(operation), "failure arranged by the test")
        try:
            self._write(operation)
        except Refused as refusal:
            return KernelError(refusal.errno, str(operation), refusal.reason)
        except KernelError as error:
            return error
        self.log.append(operation)
        return None

    def _write(self, operation: Operation) -> None:
        desired = operation.desired
        if operation.verb is Verb.DELETE:
            self._delete(operation.key)
            self._known.put(operation.key, None)
            return
        assert desired is not None, f"{operation} does not say what shall be there"
        if isinstance(desired, Link):
            self._write_link(operation.verb, desired)
        else:
            self.stack.write(desired)
        self._known.put(operation.key, desired)

    def _write_link(self, verb: Verb, desired: Link) -> None:
        there = self.stack.objects.get(desired.key)
        if there is None and verb is Verb.CHANGE:
            self.stack.link(desired.name)
        if there is not None or not isinstance(desired.kind, Veth):
            self.stack.write(desired)
            return
        if desired.kind.pod is None:
            raise Refused(errnos.EINVAL, "a veth pair cannot be made without its other end")
        self._pods.check_free(desired.kind.pod)
        self.stack.write(replace(desired, kind=Veth()))
        try:
            self._pods.join(desired.name, desired.kind.pod)
        except Refused:
            self._delete(desired.key)
            raise

    def _delete(self, key: Key) -> None:
        self.stack.delete(key)
        if key.kind == "link":
            self._pods.part(str(key.parts[0]))

    # --- inside: reading and notifying ----------------------------------------------------------

    def _fail_read(self, what: str) -> None:
        if self._read_failures:
            errno = self._read_failures.popleft()
            raise KernelError(errno, what, "failure arranged by the test")

    def _tamper(self, key: Key, change: Callable[[], None]) -> None:
        self.stack.news.clear()
        before = self.stack.find(key)
        dev = link_key(getattr(before, "dev", "") or str(key.parts[0]))
        ours = devices_that_are_ours(self.stack.objects.get(dev))
        try:
            change()
        except Refused as refusal:
            raise KernelError(refusal.errno, f"tamper with {key}", refusal.reason) from refusal
        after = self.stack.find(key)
        ours |= devices_that_are_ours(self.stack.objects.get(dev))
        tell(self._news, key, before, after, self._known, ours)
        self._tell_consequences()

    def _tell_consequences(self) -> None:
        """Tell of what went or changed beside what somebody wrote, where the kernel does."""
        for key in self.stack.news:
            if key in self._known:
                self._news.changed(key)
            if key.kind == "link" and self.stack.find(key) is None:
                self._news.flipped(str(key.parts[0]))
        self.stack.news.clear()
