"""What the agent asks of a kernel; the real one (`node`) and the fake one (`fake`) both give it.

All calls block and are made from one thread, the agent's kernel thread; `fileno` and `drain` may be
used from another one. The kernel is that of the network namespace in which the object was opened.
"""

from collections.abc import Collection, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from podway.diff.operations import Operation
from podway.errors import PodwayError
from podway.model.addresses import Family, IPAddress
from podway.model.kernel import KernelObject, Key
from podway.model.nodes import Uplink

SILENT_KINDS = frozenset({"sysctl", "offload"})


class KernelError(PodwayError):
    """The kernel refused an operation.

    Attributes:
        errno: the kernel's number; branch on this.
        operation: what was attempted, in words.
    """

    def __init__(self, errno: int, operation: str, reason: str) -> None:
        super().__init__(f"{operation}: {reason}")
        self.errno = errno
        self.operation = operation


class Seen(Struct, frozen=True):
    """Somebody else changed the object with *key* to *found*, or removed it (None)."""

    key: Key
    found: KernelObject | None


class DeviceChanged(Struct, frozen=True):
    """*dev* went up or down, came or went: what stands on it may have gone without a word.

    (The kernel drops IPv4 routes and neighbours of a device that goes down without notifying.)
    Answer with `Kernel.read_dev`.
    """

    dev: str


class UplinkChanged(Struct, frozen=True):
    """Addresses, MTU or state of a device that is not ours changed; look at the uplink again."""

    dev: str


class ForwardChanged(Struct, frozen=True):
    """A chain at hook forward changed: iptables', ours there (maybe by us), or another's.

    Answer with `ForwardChain.keep` and `Kernel.find_forward_drops`.
    """


class Overrun(Struct, frozen=True):
    """Notifications were lost: read everything again."""


KernelEvent: TypeAlias = Seen | DeviceChanged | UplinkChanged | ForwardChanged | Overrun


class Kernel(Protocol):
    """One network namespace's kernel state, as far as podway owns it."""

    def read(self, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return everything of ours, and whatever else has a key in *wanted*.

        Ours are: links whose alias starts with `ALIAS_PREFIX`; addresses, permanent neighbours and
        FDB entries on such links; routes and rules with `ROUTE_PROTOCOL`; nft tables named
        ``podway``. Sysctls are read where wanted. (What the kernel makes by itself, link-local
        addresses and connected routes, is nobody's and is left out.)

        Raises:
            KernelError: the kernel cannot be read.
        """
        ...

    def read_dev(self, dev: str, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return the same for one device: its link, and all that stands on it.

        *wanted* are the keys that concern *dev*; a key that is missing in the answer is not there.
        """
        ...

    def apply(self, operations: Sequence[Operation]) -> list[KernelError | None]:
        """Carry out *operations* in order, in as few transactions as possible.

        Returns one entry per operation: None for success. A failure does not stop the rest. DELETE
        of what is gone, and CREATE of what is there exactly as wanted, succeed. A CREATE that fails
        leaves nothing of itself behind.
        """
        ...

    def read_uplink(self, dev: str) -> Uplink | None:
        """Return the device *dev* as uplink, or None when it does not exist."""
        ...

    def find_uplink(self, family: Family | None = None) -> str | None:
        """Return the device of *family*'s default route (of IPv4's, else of IPv6's), or None."""
        ...

    def list_uplinks(self) -> tuple[Uplink, ...]:
        """Return every device, in the order of their indexes."""
        ...

    def find_way(self, address: IPAddress) -> str | None:
        """Return the device by which the kernel would send to *address*, or None."""
        ...

    def check_sysctls(self, wanted: Collection[Key]) -> list[Seen]:
        """Return a `Seen` for what of *wanted* changes without notification (`SILENT_KINDS`)."""
        ...

    def find_forward_drops(self) -> tuple[str, ...]:
        """Return the nftables chains of others that drop what they do not accept of what passes.

        Each as "inet fw forward"; iptables' FORWARD is not among them. `ForwardChanged` is told
        when that may be other ones.

        Raises:
            KernelError: nftables cannot be read.
        """
        ...

    def fileno(self) -> int:
        """Return a descriptor that is readable when `drain` has something."""
        ...

    def drain(self) -> list[KernelEvent]:
        """Return what happened since the last call, without waiting. Own writes are left out."""
        ...

    def close(self) -> None:
        """Close everything. What is in the kernel stays there."""
        ...
