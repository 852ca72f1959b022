"""Makes and deletes devices: all of one or nothing, whatever fails when.

In: a `Link` and what may be there already. Out: the device with everything that its value says, or
a `KernelError` and no device. A device of that name that has the right kind is not made but mended;
one of another kind is somebody's, and is refused with its kind.
"""

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import structs

from podway.diff.compare import Difference, compare
from podway.kernel.devices import Devices, find_link
from podway.kernel.errors import NoDeviceError, kernel_error
from podway.kernel.links import (
    change_requests,
    create_request,
    done_request,
    finish_requests,
    parse_link,
)
from podway.kernel.pods import configure_pod, open_pod
from podway.kernel.protocol import KernelError
from podway.kernel.reaper import LinkReaper
from podway.kernel.sysctls import write_sysctl
from podway.kernel.uplinks import has_ipv6
from podway.kernel.wireguard_process import WireguardProcesses
from podway.model.instances import PODWAY, Marks
from podway.model.kernel import Bridge, Link, PodSide, Tun, Veth, Vxlan, Wireguard
from podway.model.networks import MIN_MTU_IPV6
from podway.netlink import NetlinkError, NetlinkSocket, Request, change_link, entered
from podway.udp.tun import create_tun, keep_tun

if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage


class LinkMaker:
    """Makes and deletes devices of one namespace.

    Args:
        netlink: to ask with.
        devices: names and indexes.
        reaper: deletes.
        processes: make what this kernel cannot.
        netns_fd: the namespace; None for the calling thread's.
        marks: of whose devices they are.
    """

    def __init__(
        self,
        netlink: NetlinkSocket,
        devices: Devices,
        reaper: LinkReaper,
        processes: WireguardProcesses,
        netns_fd: int | None = None,
        *,
        marks: Marks = PODWAY,
    ) -> None:
        self._marks = marks
        self._netlink = netlink
        self._devices = devices
        self._reaper = reaper
        self._processes = processes
        self._netns_fd = netns_fd
        self._ipv6 = has_ipv6()

    def create(self, link: Link) -> None:
        """Make *link*, both ends of it if it is a pair, or mend what has its name already.

        Raises:
            KernelError: EEXIST when the name is taken by another kind or other parameters; ENOENT
                when the pod's namespace is gone; else as the kernel says. Nothing new is left.
            NetlinkError, NetnsError: likewise.
        """
        if isinstance(link.kind, Tun):
            self._create_tun(link)
        elif not isinstance(link.kind, Veth):
            self._create(link, configure=partial(self._without_detection, link))
        elif link.kind.pod is not None:
            self._create_pair(link, link.kind.pod)
        elif not self._mend(link):
            reason = "a veth pair cannot be made without its other end"
            raise KernelError(errno.EINVAL, f"create link {link.name}", reason)

    def delete(self, names: Sequence[str]) -> list[KernelError | None]:
        """Delete the devices called *names* together; one that is not there is deleted already."""
        indexes = [self._devices.index(name) for name in names]
        present = [index for index in indexes if index]
        errors = dict(zip(present, self._reaper.delete(present), strict=True))
        found = [errors.get(index) for index in indexes]
        return [None if error is None else kernel_error(error) for error in found]

    def _create_pair(self, link: Link, pod: PodSide) -> None:
        fd = open_pod(pod, self._netns_fd)
        try:
            configure = partial(configure_pod, pod, fd, ipv6=self._ipv6)
            self._create(link, fd, configure=configure)
        finally:
            os.close(fd)

    def _create_tun(self, link: Link) -> None:
        """Make *link*'s device, which goes with its descriptor until it is finished, or mend it."""
        try:
            with nullcontext() if self._netns_fd is None else entered(self._netns_fd):
                fd = create_tun(link.name)
        except OSError as error:
            if error.errno == errno.EBUSY and self._mend(link):
                return
            raise
        try:
            if link.mtu is not None:
                self._netlink.request(change_link({"ifname": link.name, "mtu": link.mtu}))
            self._send(finish_requests(link, self._index, ipv6=self._ipv6))
            keep_tun(fd)
        finally:
            os.close(fd)

    def _without_detection(self, link: Link) -> None:
        """Let a bridge's link-local address be valid at once, when its first port joins.

        From there it asks for its pods' MACs on behalf of whom it forwards for, and the kernel asks
        nothing from an address under duplicate address detection: for two seconds no other node
        would reach the first pod over IPv6.
        """
        has_ipv6_there = self._ipv6 and (link.mtu is None or link.mtu >= MIN_MTU_IPV6)
        if isinstance(link.kind, Bridge) and has_ipv6_there:
            with nullcontext() if self._netns_fd is None else entered(self._netns_fd):
                write_sysctl(f"ipv6/conf/{link.name}/accept_dad", "0")

    def _create(self, link: Link, pod_fd: int = -1, *, configure: Callable[[], None]) -> None:
        """Make *link*'s device here, *configure* its other end, or mend what is there."""
        try:
            self._netlink.request(create_request(link, self._index, pod_fd, self._marks.group))
        except NetlinkError as error:
            if error.errno == errno.EEXIST and not self._is_orphan(link) and self._mend(link):
                return
            self._make_otherwise(link, error)
        try:
            self._send(finish_requests(link, self._index, ipv6=self._ipv6))
            configure()
            self._netlink.request(done_request(link))
        except BaseException:
            self._undo(link)
            raise

    def _make_otherwise(self, link: Link, refused: NetlinkError) -> None:
        """Have a process make *link*, or take over one that it made before the agent was killed.

        Raises:
            NetlinkError: *refused*, where no process makes such a device.
            KernelError: the process does not start.
        """
        if not isinstance(link.kind, Wireguard):
            raise refused
        if not self._is_orphan(link):
            if refused.errno != errno.EOPNOTSUPP:
                raise refused
            with nullcontext() if self._netns_fd is None else entered(self._netns_fd):
                self._processes.start(link.name)
        if link.mtu is not None:
            self._netlink.request(change_link({"ifname": link.name, "mtu": link.mtu}))

    def _is_orphan(self, link: Link) -> bool:
        """Tell whether a process of ours made *link*'s device, and it got no mark any more."""
        if not isinstance(link.kind, Wireguard):
            return False
        message = find_link(self._netlink, link.name)
        unmarked = message is not None and not message.get("ifalias")
        return unmarked and self._processes.answers(link.name)

    def _mend(self, link: Link) -> bool:
        """Turn the device of *link*'s name into *link*; False when there is none."""
        message = find_link(self._netlink, link.name)
        if message is None:
            return False
        there = parse_link(message, self._devices.name, self._marks)
        if there is None or compare(link, there) is Difference.REMAKE:
            operation = f"create link {link.name}"
            raise KernelError(errno.EEXIST, operation, _difference(message, there, link))
        self._send(change_requests(link, there, self._index))
        return True

    def _undo(self, link: Link) -> None:
        index = self._devices.index(link.name)
        if index:
            self._reaper.delete([index])

    def _send(self, requests: Sequence[Request[Any]]) -> None:
        for error in self._netlink.batch(requests):
            if error is not None:
                raise error

    def _index(self, dev: str) -> int:
        index = self._devices.index(dev)
        if not index:
            raise NoDeviceError(dev, f"use device {dev}")
        return index


def _difference(message: "LinkMessage", there: Link | None, wanted: Link) -> str:
    """Return, in words, why what is there cannot be turned into what is wanted."""
    kind = message.get("linkinfo", {}).get("kind", "hardware")
    reason = f"a {kind} device of that name is there"
    if there is not None and isinstance(wanted.kind, Vxlan) and isinstance(there.kind, Vxlan):
        has, shall = structs.asdict(there.kind), structs.asdict(wanted.kind)
        names = [name for name in shall if has[name] != shall[name]]
        reason += " with " + ", ".join(f"{name} {has[name]}, not {shall[name]}" for name in names)
    return f"{reason}; remove or rename it"
