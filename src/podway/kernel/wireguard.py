"""WireGuard devices of one namespace: read and written, in the kernel or in a process in its place.

In: operations on devices, peers and prefixes. Out: one message for all of one device, or, when that
is refused, one for each operation, so that a bad one fails alone. The two ways differ in how a
message travels and in nothing else.
"""

import errno
import time
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podway.diff.operations import Operation, Verb
from podway.kernel.errors import worded
from podway.kernel.protocol import KernelError
from podway.kernel.wireguard_keys import WireguardKey, public_key
from podway.kernel.wireguard_process import WireguardProcesses
from podway.kernel.wireguard_text import GET, parse_errno, parse_get, render_set
from podway.kernel.wireguard_values import compute_fields, parse_device
from podway.model.kernel import KernelObject, Key, WireguardPeer
from podway.netlink import NetlinkError, NetlinkSocket
from podway.netlink.constants import NETLINK_GENERIC
from podway.netlink.wireguard import (
    get_wireguard,
    get_wireguard_family,
    join_wireguard,
    set_wireguard,
)

# What goes into one message: a nest of attributes holds 64 KiB, a peer takes at most 170 bytes.
_ENTRIES_MAX = 300


class WireguardDevices:
    """Reads and writes the WireGuard devices of one namespace.

    Args:
        processes: those that stand in for the kernel.
        key: this node's.
        kind_of: returns a device's kind by its name (``wireguard``, ``tun``), "" for no device.
        netns_fd: the namespace; None for the calling thread's.
    """

    def __init__(
        self,
        processes: WireguardProcesses,
        key: WireguardKey,
        kind_of: Callable[[str], str],
        netns_fd: int | None = None,
    ) -> None:
        self.processes = processes
        self._key = key
        self._kind_of = kind_of
        self._netns_fd = netns_fd
        self._netlink: NetlinkSocket | None = None
        self._family = 0
        self._written: dict[Key, WireguardPeer] = {}

    def read(self, dev: str) -> dict[Key, KernelObject] | None:
        """Return what device *dev* is configured with; None when its process does not answer.

        Such a device carries nothing any more.
        """
        kind = self._kind_of(dev)
        try:
            fields = self._get(dev, kind)
        except NetlinkError as error:
            if error.is_not_found:
                return None
            raise
        except OSError:
            return None
        return parse_device(dev, fields, self._written, time.time())

    def apply(self, operations: Sequence[Operation]) -> list[KernelError | None]:
        """Carry out *operations*; one entry per operation, None for success."""
        outcomes: dict[int, KernelError | None] = {}
        by_device: dict[str, list[int]] = {}
        for number, operation in enumerate(operations):
            by_device.setdefault(str(operation.key.parts[0]), []).append(number)
        for dev, numbers in by_device.items():
            mine = [operations[number] for number in numbers]
            outcomes |= dict(zip(numbers, self._apply_to(dev, mine), strict=True))
        return [outcomes[number] for number in range(len(operations))]

    def close(self) -> None:
        """Close the socket; devices and processes stay."""
        if self._netlink is not None:
            self._netlink.close()

    def _apply_to(self, dev: str, operations: Sequence[Operation]) -> list[KernelError | None]:
        error = self._try(dev, operations)
        if error is None or len(operations) == 1:
            return [error] * len(operations)
        return [self._try(dev, [operation]) for operation in operations]

    def _try(self, dev: str, operations: Sequence[Operation]) -> KernelError | None:
        try:
            with worded(f"change WireGuard device {dev}"):
                self._write(dev, operations)
        except KernelError as error:
            return error
        for operation in operations:
            if isinstance(operation.desired, WireguardPeer):
                self._written[operation.key] = operation.desired
            else:
                self._written.pop(operation.key, None)
        return None

    def _write(self, dev: str, operations: Sequence[Operation]) -> None:
        kind = self._kind_of(dev)
        deletes = [operation.verb is Verb.DELETE for operation in operations]
        if not kind:
            if all(deletes):
                return  # it took all with it
            raise KernelError(errno.ENODEV, f"change WireGuard device {dev}", "there is none")
        now = self._get(dev, kind) if any(deletes) else {}
        fields = compute_fields(operations, now, self._private_of)
        for part in _parts(fields):
            self._set(dev, kind, part)

    def _private_of(self, public: str) -> bytes:
        private = self._key.private()
        if public_key(private) != public:
            rule = f"the key in {self._key.path} is another one; it is published anew"
            raise KernelError(errno.EKEYREJECTED, "use this node's WireGuard key", rule)
        return private

    # --- the two ways ---------------------------------------------------------------------------

    def _get(self, dev: str, kind: str) -> Mapping[str, Any]:
        if kind == "wireguard":
            netlink, family = self._open()
            return join_wireguard(netlink.dump(get_wireguard(family, dev)))
        answer = self.processes.ask(dev, GET)
        _check(answer)
        fields = parse_get(answer)
        private = fields.pop("private_key", b"")
        return {**fields, "public_key": _public(private)}

    def _set(self, dev: str, kind: str, fields: Mapping[str, Any]) -> None:
        if kind == "wireguard":
            netlink, family = self._open()
            netlink.request(set_wireguard(family, {"ifname": dev, **fields}))  # type: ignore[typeddict-item]
        else:
            _check(self.processes.ask(dev, render_set(fields)))

    def _open(self) -> tuple[NetlinkSocket, int]:
        """Return the socket of the namespace and the family's number."""
        if self._netlink is None:
            self._netlink = NetlinkSocket(NETLINK_GENERIC, self._netns_fd)
        if not self._family:
            found = self._netlink.request(get_wireguard_family())
            if found is None:
                raise NetlinkError(errno.ENOENT, "find generic netlink family wireguard")
            self._family = found["family_id"]
        return self._netlink, self._family


def _public(private: bytes) -> bytes:
    """Return the public key of what a process says it has; none while it has no key."""
    return b64decode(public_key(private)) if any(private) else b""


def _check(answer: bytes) -> None:
    """Raise `OSError` with the errno of a process's *answer*, EPROTO for no answer at all."""
    try:
        number = parse_errno(answer)
    except ValueError as error:
        raise OSError(errno.EPROTO, str(error)) from error
    if number:
        raise OSError(number, "the process refused it")


def _parts(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return *fields* in messages that the kernel takes; applied in order they say the same."""
    peers = fields.get("peers", {}).get("peer", [])
    if len(peers) <= _ENTRIES_MAX:
        return [fields]
    head = {name: value for name, value in fields.items() if name != "peers"}
    cuts = range(0, len(peers), _ENTRIES_MAX)
    return [{**head, "peers": {"peer": peers[cut : cut + _ENTRIES_MAX]}} for cut in cuts]
