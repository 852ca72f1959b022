"""Pods' namespaces of the kernel in memory: who has which interface, and what is inside.

In: the far end of a veth pair (`PodSide`) and the name of its host end. Out: a `FakeStack` with the
interface configured in the order in which the real kernel is asked, so that a route before its
neighbour prefix fails here too.
"""

import errno as errnos
from pathlib import Path

from msgspec.structs import replace

from podway.kernel.fake_stack import FakeStack
from podway.kernel.fake_sysctls import Refused
from podway.model.addresses import family_of
from podway.model.kernel import Address, Link, PodSide, Route, Veth, default_metric, link_key


class FakeNamespaces:
    """All pods' namespaces, by identity, and the pairs that lead into them."""

    def __init__(self) -> None:
        self._stacks: dict[object, FakeStack] = {}
        self._pairs: dict[str, tuple[object, str]] = {}

    def create(self, path: str) -> FakeStack:
        """Make the namespace at *path*; one that exists stays as it is."""
        return self._stacks.setdefault(_identity(path), FakeStack())

    def destroy(self, path: str) -> list[str]:
        """Forget the namespace at *path*; return the host ends of the pairs that led there."""
        identity = _identity(path)
        del self._stacks[identity]
        return [host for host, (place, _) in self._pairs.items() if place == identity]

    def stack(self, path: str) -> FakeStack:
        """Return what is in the namespace at *path*; KeyError without one."""
        return self._stacks[_identity(path)]

    def check_free(self, pod: PodSide) -> None:
        """Refuse a namespace that is not there, or an interface that is.

        Raises:
            Refused: ENOENT or EEXIST.
        """
        stack = self._stacks.get(_identity(pod.netns))
        if stack is None:
            raise Refused(errnos.ENOENT, f"open network namespace {pod.netns}: no such file")
        if link_key(pod.ifname) in stack.objects:
            raise Refused(errnos.EEXIST, f"{pod.ifname} exists in {pod.netns}")

    def join(self, host_end: str, pod: PodSide) -> None:
        """Make *pod*'s interface, whose other end is *host_end*; all of it or nothing.

        Raises:
            Refused: with the errno of the step that failed.
        """
        stack = self.stack(pod.netns)
        link = Link(name=pod.ifname, kind=Veth(), mtu=pod.mtu, mac=pod.mac, alias="")
        try:
            stack.write(link)
            for address in pod.addresses:
                stack.write(Address(pod.ifname, address))
            for neighbour in pod.neighbours:
                stack.write(neighbour)
            for route in pod.routes:
                stack.write(_as_spare(stack, route))
        except Refused:
            stack.delete(link.key)
            raise
        self._pairs[host_end] = (_identity(pod.netns), pod.ifname)

    def part(self, host_end: str) -> None:
        """Let the far end of *host_end* go with it, if it leads into a pod."""
        identity, ifname = self._pairs.pop(host_end, (None, ""))
        stack = self._stacks.get(identity)
        if stack is not None:
            stack.delete(link_key(ifname))

    def check(self, pod: PodSide) -> list[str]:
        """Return what is not as *pod* says."""
        stack = self._stacks.get(_identity(pod.netns))
        if stack is None:
            return [f"its namespace {pod.netns} is gone"]
        keys = [link_key(pod.ifname)]
        keys += [Address(pod.ifname, address).key for address in pod.addresses]
        keys += [neighbour.key for neighbour in pod.neighbours]
        missing = [f"{key} is missing in {pod.netns}" for key in keys if key not in stack.objects]
        routes = {_way(item) for item in stack.on(pod.ifname) if isinstance(item, Route)}
        return missing + [
            f"the route to {route.dst} via {route.via or pod.ifname} is gone"
            for route in pod.routes
            if _way(route) not in routes
        ]


def _as_spare(stack: FakeStack, route: Route) -> Route:
    """Return *route* with the metric that the kernel gives it, or the next one that is free."""
    metric = route.metric or default_metric(family_of(route.dst))
    while (found := replace(route, metric=metric)).key in stack.objects:
        metric += 1
    return found


def _way(route: Route) -> tuple[object, ...]:
    """Return what a pod depends on in *route*."""
    return route.dst, route.via, route.table, route.mtu


def _identity(path: str) -> object:
    """Return what distinguishes a namespace: the file where there is one, else its path."""
    try:
        status = Path(path).stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino
