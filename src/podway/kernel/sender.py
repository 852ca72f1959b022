"""Sends what netlink takes as single messages, many at a time: routes, neighbours, addresses.

In: operations of one batch. Out: for each what the kernel says against it, or None. An operation
may take several requests, and one request that cannot even be written down fails alone. What the
kernel refuses because of what is there already is settled by `podway.kernel.conflicts`.
"""

import errno
from collections.abc import Sequence
from typing import Any

from podway.diff.operations import Operation, Verb
from podway.kernel.conflicts import is_settled, settle
from podway.kernel.devices import Devices, find_link
from podway.kernel.errors import NoDeviceError, kernel_error
from podway.kernel.protocol import KernelError
from podway.kernel.writes import requests_of
from podway.model.kernel import FdbEntry
from podway.netlink import EncodeError, NetlinkError, NetlinkSocket, Request


class Sender:
    """Sends operations of one namespace.

    Args:
        netlink: to ask with.
        devices: names and indexes.
    """

    def __init__(self, netlink: NetlinkSocket, devices: Devices) -> None:
        self._netlink = netlink
        self._devices = devices

    def send(self, batch: Sequence[Operation]) -> list[KernelError | None]:
        """Send netlink operations together; an operation may take more than one request."""
        outcomes: list[KernelError | None] = [None] * len(batch)
        requests: list[Request[Any]] = []
        owners: list[int] = []
        index_of = _Indexes(self._devices)
        vteps: set[str] = set()
        for number, operation in enumerate(batch):
            try:
                if isinstance(operation.desired, FdbEntry):
                    self._check_vtep(operation.desired.dev, vteps)
                mine = requests_of(operation, index_of)
            except NoDeviceError as error:
                if operation.verb is not Verb.DELETE:
                    outcomes[number] = NoDeviceError(error.dev, str(operation))
                continue
            except KernelError as error:
                outcomes[number] = error
                continue
            requests += mine
            owners += [number] * len(mine)
        for number, refused in zip(owners, self._transmit(requests), strict=True):
            if refused is None or is_settled(batch[number], refused):
                continue
            left = settle(self._netlink, batch[number], refused, index_of)
            if left is not None and outcomes[number] is None:
                outcomes[number] = kernel_error(left)
        return outcomes

    def _check_vtep(self, dev: str, vteps: set[str]) -> None:
        """Refuse a device that would take an FDB entry and do nothing with it; each looked at once.

        (To any other Ethernet device the same message means one more MAC to listen to.)
        """
        if dev in vteps:
            return
        message = find_link(self._netlink, dev)
        if message is None:
            raise NoDeviceError(dev, f"use device {dev}")
        if message.get("linkinfo", {}).get("kind") != "vxlan":
            raise KernelError(errno.EOPNOTSUPP, f"use device {dev}", f"{dev} is no VXLAN device")
        vteps.add(dev)

    def _transmit(
        self, requests: Sequence[Request[Any]]
    ) -> Sequence[NetlinkError | EncodeError | None]:
        """Send *requests*; one that cannot even be written down fails alone."""
        try:
            return self._netlink.batch(requests)
        except EncodeError:
            faults = [_fault(request) for request in requests]
        rest = [request for request, fault in zip(requests, faults, strict=True) if not fault]
        results = iter(self._netlink.batch(rest))
        return [fault or next(results) for fault in faults]


class _Indexes:
    """Looks device names up, each once for a batch."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._indexes: dict[str, int] = {}

    def __call__(self, dev: str) -> int:
        index = self._indexes.get(dev) or self._devices.index(dev)
        if not index:
            raise NoDeviceError(dev, f"use device {dev}")
        self._indexes[dev] = index
        return index


def _fault(request: Request[Any]) -> EncodeError | None:
    """Return why *request* cannot be written down."""
    try:
        request.schema.encode(request.fields)
    except EncodeError as error:
        return error
    return None
