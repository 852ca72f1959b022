"""The kernel of this node: reads what there is, writes what is asked, tells what others changed.

One socket for requests and those of the `Listener` for notifications, opened in the namespace for
good. Operations are written in the order given and sent in batches; a batch ends where devices are
made or deleted (what follows needs their indexes), at sysctls and at nftables.

A namespace other than the process's own is for tests, which never move their own thread for long:
the sockets are opened in it, and what depends on the thread's namespace (sysctls, nftables) enters
it for the length of the call.

`fileno` and `drain` may be called from another thread. While a call of the kernel's thread is under
way `drain` returns nothing: what a half-done write looks like from outside is nobody's change.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from podway.diff.operations import Operation, Verb
from podway.kernel.devices import Devices, find_link
from podway.kernel.errors import worded
from podway.kernel.events import Translator
from podway.kernel.forward_drops import ForwardDrops
from podway.kernel.inventory import Inventory
from podway.kernel.known import Known
from podway.kernel.link_maker import LinkMaker
from podway.kernel.listener import Listener
from podway.kernel.offloads import write_tx_checksum
from podway.kernel.pods import check_pod
from podway.kernel.protocol import SILENT_KINDS, DeviceChanged, KernelError, KernelEvent, Seen
from podway.kernel.reaper import LinkReaper
from podway.kernel.relays import Relays
from podway.kernel.sender import Sender
from podway.kernel.sysctls import write_sysctl
from podway.kernel.tables import Tables
from podway.kernel.uplinks import (
    find_uplink_index,
    find_way_index,
    list_uplinks,
    read_uplink,
)
from podway.kernel.wireguard import WireguardDevices
from podway.kernel.wireguard_keys import WireguardKey
from podway.kernel.wireguard_process import WireguardProcesses
from podway.kernel.writes import batches
from podway.model.addresses import Family, IPAddress
from podway.model.instances import PODWAY, Marks
from podway.model.kernel import (
    KernelObject,
    Key,
    Link,
    NftTable,
    Offload,
    PodSide,
    Sysctl,
)
from podway.model.nodes import Uplink
from podway.netlink import NetlinkSocket, entered


class NodeKernel:
    """The kernel state of one network namespace.

    Args:
        netns_fd: the namespace; None for the process's own.
        run_dir: where processes that stand in for the kernel have their sockets.
        wireguard_key: file of this node's key; made when a device first needs it.
        marks: tell what is ours.

    Raises:
        KernelError: the kernel gives no sockets, or cannot be read.
    """

    def __init__(
        self,
        netns_fd: int | None = None,
        *,
        run_dir: Path = Path("/run/podway"),
        wireguard_key: Path = Path("/var/lib/podway/wireguard.key"),
        marks: Marks = PODWAY,
    ) -> None:
        self._netns_fd = netns_fd
        self._marks = marks
        with worded("open the kernel's sockets"):
            self._netlink = NetlinkSocket(netns_fd=netns_fd)
            self._reaper = LinkReaper(netns_fd)
        self._devices = Devices(self._netlink.fileno())
        self._busy = threading.Lock()
        self._known = Known()
        self._forward_drops = ForwardDrops(marks.table, netns_fd)
        self._translator = Translator(
            self._known, self._devices.name, marks, is_drop=self._forward_drops.concerned
        )
        with worded("open the sockets of notifications"):
            self._listener = Listener(self._translator, netns_fd)
        self._tables: Tables | None = None
        processes = WireguardProcesses(run_dir / "wireguard")
        self._wireguard = WireguardDevices(
            processes, WireguardKey(wireguard_key), self._kind_of, netns_fd
        )
        self._relays = Relays(run_dir / "udp", self._inside, self._listener.watch)
        self._inventory = Inventory(
            self._netlink,
            self._devices,
            self._nft,
            self._inside,
            wireguard=self._wireguard.read,
            relay=self._relays.read,
            marks=marks,
        )
        self._sender = Sender(self._netlink, self._devices)
        self._maker = LinkMaker(
            self._netlink, self._devices, self._reaper, processes, netns_fd, marks=marks
        )
        with worded("list devices"):
            self._translator.start_from(self._inventory.links())

    # --- reading --------------------------------------------------------------------------------

    def read(self, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return everything of ours, and whatever else has a key in *wanted*."""
        with self._busy, worded("read the kernel's state"):
            self._listener.listen()
            messages = self._inventory.links()
            state = self._inventory.read(messages, wanted)
            self._translator.start_from(messages)
            self._translator.supersede(state)
            self._listener.wake_if_news()
            return state

    def read_dev(self, dev: str, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return the same for device *dev* alone."""
        with self._busy, worded(f"read device {dev}"):
            self._listener.listen()
            state = self._inventory.read_dev(dev, wanted)
            self._translator.supersede(state, dev)
            self._listener.wake_if_news()
            return state

    def read_uplink(self, dev: str) -> Uplink | None:
        """Return the device *dev* as uplink, or None when it does not exist."""
        with worded(f"read uplink {dev}"):
            return read_uplink(self._netlink, dev)

    def list_uplinks(self) -> tuple[Uplink, ...]:
        """Return every device, in the order of their indexes."""
        with worded("list interfaces"):
            return list_uplinks(self._netlink)

    def find_way(self, address: IPAddress) -> str | None:
        """Return the device by which the kernel would send to *address*, or None."""
        with worded(f"find the way to {address}"):
            index = find_way_index(self._netlink, address)
            return self._devices.name(index) or None if index else None

    def find_uplink(self, family: Family | None = None) -> str | None:
        """Return the device of *family*'s default route (of IPv4's, else of IPv6's), or None."""
        with worded("find the default route"):
            index = find_uplink_index(self._netlink, family)
            return self._devices.name(index) or None if index else None

    def check_sysctls(self, wanted: Collection[Key]) -> list[Seen]:
        """Return a `Seen` for what of *wanted* changes without notification."""
        keys = [key for key in wanted if key.kind in SILENT_KINDS]
        with self._busy, worded("read sysctls and offloads"):
            found = self._inventory.read_silent(keys)
            for key in keys:
                self._known.put(key, found.get(key))
        return [Seen(key, found.get(key)) for key in keys]

    def find_forward_drops(self) -> tuple[str, ...]:
        """Return the chains of others that drop what they do not accept of what passes."""
        with self._busy:
            return self._forward_drops.find()

    def check_pod(self, pod: PodSide) -> list[str]:
        """Return what is not as *pod* says inside its namespace, in sentences."""
        return check_pod(pod)

    # --- writing --------------------------------------------------------------------------------

    def apply(self, operations: Sequence[Operation]) -> list[KernelError | None]:
        """Carry out *operations* in order; one entry per operation, None for success."""
        outcomes: list[KernelError | None] = []
        with self._busy:
            for batch in batches(operations):
                done = self._apply_batch(batch)
                for operation, error in zip(batch, done, strict=True):
                    if error is None:
                        self._known.put(operation.key, operation.desired)
                outcomes += done
            # The echo of all this is heard here, and wakes nobody.
            self._listener.listen()
            self._forget_births(operations, outcomes)
            self._translator.settle()
            self._listener.wake_if_news()
        return outcomes

    def _forget_births(
        self, operations: Sequence[Operation], outcomes: Sequence[KernelError | None]
    ) -> None:
        """Forget what was told of devices that were made and are down.

        Their birth is the last that the kernel tells of them: of a device that is down it keeps
        most changes to itself (netdev_state_change).
        """
        for operation, error in zip(operations, outcomes, strict=True):
            desired = operation.desired
            made = operation.verb is Verb.CREATE and error is None
            if made and isinstance(desired, Link) and not desired.up:
                self._translator.forget(operation.key)

    def _apply_batch(  # noqa: PLR0911  (one for each way)
        self, batch: Sequence[Operation]
    ) -> list[KernelError | None]:
        verb, kind = batch[0].verb, batch[0].key.kind
        match kind:
            case "link" if verb is Verb.DELETE:
                return self._delete_links(batch)
            case "link" if verb is Verb.CREATE:
                return [_alone(operation, self._create_link) for operation in batch]
            case "sysctl":
                with self._inside():
                    return [_alone(operation, _write_sysctl) for operation in batch]
            case "offload":
                return [_alone(operation, self._write_offload) for operation in batch]
            case "nft":
                with self._inside():
                    return [_alone(operation, self._write_table) for operation in batch]
            case "wireguard" | "wgpeer" | "allowedip":
                return self._wireguard.apply(batch)
            case "relay" | "udppeer":
                return self._relays.apply(batch)
            case _:
                for operation in batch:
                    self._expect(operation)
                return self._sender.send(batch)

    def _expect(self, operation: Operation) -> None:
        """Foresee that a device goes up or down because of *operation*, a change of a link."""
        desired, observed = operation.desired, operation.observed
        if isinstance(desired, Link) and isinstance(observed, Link) and desired.up != observed.up:
            self._translator.expect_flip(desired.name, up=desired.up)

    def _create_link(self, operation: Operation) -> None:
        assert isinstance(operation.desired, Link)
        if operation.desired.up:
            self._translator.expect_flip(operation.desired.name, up=True)
        self._maker.create(operation.desired)

    def _delete_links(self, batch: Sequence[Operation]) -> list[KernelError | None]:
        names = [str(operation.key.parts[0]) for operation in batch]
        for name in names:
            self._translator.expect_flip(name, up=False)
        with worded(f"delete {len(names)} devices"):
            return self._maker.delete(names)

    def _write_offload(self, operation: Operation) -> None:
        """Write an offload; deleting one leaves it, since nobody knows what it was before."""
        if isinstance(operation.desired, Offload):
            on = operation.desired.tx_checksum
            write_tx_checksum(self._netlink.fileno(), operation.desired.dev, on=on)

    def _write_table(self, operation: Operation) -> None:
        with self._listener.own_commit():
            if isinstance(operation.desired, NftTable):
                self._nft().write(operation.desired)
            else:
                self._nft().delete(str(operation.key.parts[0]), str(operation.key.parts[1]))

    # --- notifications and the rest -------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable when `drain` has something."""
        return self._listener.fileno()

    def drain(self) -> list[KernelEvent]:
        """Return what others changed since the last call, without waiting."""
        if not self._busy.acquire(blocking=False):
            return []
        try:
            ended = [DeviceChanged(dev) for dev in self._relays.ended()]
            return [*self._listener.news(), *ended]
        finally:
            self._busy.release()

    def close(self) -> None:
        """Close everything; what is in the kernel stays there."""
        self._reaper.close()
        for item in (self._netlink, self._listener, self._wireguard, self._relays):
            item.close()
        if self._tables is not None:
            self._tables.close()

    def _kind_of(self, dev: str) -> str:
        """Return the kind of device *dev*, "" when there is none."""
        message = find_link(self._netlink, dev)
        return "" if message is None else message.get("linkinfo", {}).get("kind", "hardware")

    def _inside(self) -> AbstractContextManager[None]:
        return nullcontext() if self._netns_fd is None else entered(self._netns_fd)

    def _nft(self) -> Tables:
        """Return the tables; called inside the namespace."""
        if self._tables is None:
            self._tables = Tables(self._marks.table)
        return self._tables


def _alone(operation: Operation, write: Callable[[Operation], None]) -> KernelError | None:
    try:
        with worded(str(operation)):
            write(operation)
    except KernelError as error:
        return error
    return None


def _write_sysctl(operation: Operation) -> None:
    """Write a sysctl; deleting one leaves its value, since nobody knows what it was before."""
    if isinstance(operation.desired, Sysctl):
        write_sysctl(operation.desired.path, operation.desired.value)
