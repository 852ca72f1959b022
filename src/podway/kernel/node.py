"""The kernel of this node: reads what there is, writes what is asked, tells what others changed.

One request socket, one for notifications, one for nftables' notifications, opened in the namespace
for good. Operations are written in the order given and sent in batches of one kind; a batch ends
where a device is made (what follows needs its index), at sysctls and at nftables.

Args of the constructor allow a namespace other than the process's own, for tests: everything that
depends on the thread's namespace (sysctls, nftables) then enters it for the length of the call.
"""

import errno
import os
import select
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from podway.diff.operations import Operation, Verb
from podway.kernel.addresses import address_fields, parse_address
from podway.kernel.devices import Devices
from podway.kernel.events import GROUPS, Translator
from podway.kernel.links import (
    after_create_requests,
    change_requests,
    create_requests,
    parse_link,
)
from podway.kernel.neighbours import fdb_fields, neighbour_fields, parse_neighbour
from podway.kernel.pods import create_pair
from podway.kernel.protocol import KernelError, KernelEvent, Overrun, Seen
from podway.kernel.reaper import LinkReaper
from podway.kernel.routes import parse_route, route_fields, route_identity
from podway.kernel.rules import parse_rule, rule_fields
from podway.kernel.sysctls import device_of_path, read_sysctl, write_sysctl
from podway.kernel.tables import Tables
from podway.kernel.uplinks import find_uplink_index, read_uplink
from podway.model.kernel import (
    ALIAS_PREFIX,
    ROUTE_PROTOCOL,
    Address,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NftTable,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vxlan,
)
from podway.model.nodes import Uplink
from podway.netlink import (
    DecodeError,
    EventSocket,
    NetlinkError,
    NetlinkSocket,
    NetnsError,
    Request,
    create_rule,
    delete_address,
    delete_fdb,
    delete_neighbour,
    delete_route,
    delete_rule,
    dump_addresses,
    dump_fdb,
    dump_links,
    dump_neighbours,
    dump_routes,
    dump_rules,
    entered,
    get_link,
    replace_address,
    replace_fdb,
    replace_neighbour,
    replace_route,
)
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    NETLINK_NETFILTER,
    NFNLGRP_NFTABLES,
    NUD_PERMANENT,
)

if TYPE_CHECKING:
    from podway.netlink.links import LinkMessage

    Links = Iterator[tuple[int, Link]]

_IPV6_SYSCTLS = "/proc/sys/net/ipv6"


class NodeKernel:
    """The kernel state of one network namespace.

    Args:
        netns_fd: the namespace; None for the process's own.
    """

    def __init__(self, netns_fd: int | None = None) -> None:
        self._netns_fd = netns_fd
        self._netlink = NetlinkSocket(netns_fd=netns_fd)
        self._events = EventSocket(GROUPS, netns_fd=netns_fd)
        self._nft_events = EventSocket((NFNLGRP_NFTABLES,), NETLINK_NETFILTER, netns_fd)
        self._devices = Devices(self._netlink)
        self._reaper = LinkReaper(netns_fd)
        self._written: set[Key] = set()
        self._translator = Translator(self._devices, self._written)
        self._tables: Tables | None = None
        self._ipv6 = os.path.isdir(_IPV6_SYSCTLS)  # noqa: PTH112  (one stat)
        self._heard: list[KernelEvent] = []
        # Rings when `apply` has taken notifications off the sockets that `drain` has to deliver.
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.epoll()
        self._poll.register(self._bell, select.EPOLLIN)
        self._poll.register(self._events.fileno(), select.EPOLLIN)
        self._poll.register(self._nft_events.fileno(), select.EPOLLIN)

    # --- reading --------------------------------------------------------------------------------

    def read(self, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return everything of ours, and what else has a key in *wanted*."""
        with _worded("read the kernel's state"):
            names = {str(key.parts[0]) for key in wanted if key.kind == "link"}
            links = self._read_links(names)
            found: list[KernelObject] = list(links.values())
            found += self._read_addresses(links, wanted)
            found += self._read_neighbours(links)
            found += self._read_routes(0)
            found += self._read_rules()
            found += self._read_by_key(wanted)
        state = {item.key: item for item in found}
        self._written.update(state)
        return state

    def read_dev(self, dev: str, wanted: Collection[Key]) -> dict[Key, KernelObject]:
        """Return what there is on *dev*: its link if ours, and all that stands on it."""
        with _worded(f"read device {dev}"):
            index = self._refresh_device(dev)
            if not index:
                return {}
            links = self._read_link(index, {str(k.parts[0]) for k in wanted if k.kind == "link"})
            found: list[KernelObject] = list(links.values())
            if links:
                found += self._read_addresses(links, wanted, index)
                found += self._read_neighbours(links)
            found += self._read_routes(index)
            found += self._read_by_key([key for key in wanted if key.kind == "sysctl"])
        return {item.key: item for item in found}

    def read_uplink(self, dev: str) -> Uplink | None:
        """Return the device *dev* as uplink; None when it does not exist."""
        with _worded(f"read uplink {dev}"):
            return read_uplink(self._netlink, dev)

    def find_uplink(self) -> str | None:
        """Return the device of the default route; None without one."""
        with _worded("find the default route"):
            index = find_uplink_index(self._netlink)
            return self._devices.name(index) or None if index else None

    def check_sysctls(self, wanted: Collection[Key]) -> list[Seen]:
        """Return what the sysctls of *wanted* hold now."""
        found = {item.key: item for item in self._read_by_key(wanted)}
        return [Seen(key, found.get(key)) for key in wanted]

    def _refresh_device(self, dev: str) -> int:
        try:
            message = self._netlink.request(get_link({"ifname": dev}))
        except NetlinkError as error:
            if error.is_not_found:
                return 0
            raise
        assert message is not None
        self._devices.learn(message)
        return message["index"]

    def _read_links(self, names: set[str]) -> dict[int, Link]:
        return dict(self._parse_links(self._netlink.dump(dump_links()), names))

    def _read_link(self, index: int, names: set[str]) -> dict[int, Link]:
        message = self._netlink.request(get_link({"index": index}))
        return dict(self._parse_links([message] if message else [], names))

    def _parse_links(self, messages: "Sequence[LinkMessage]", names: set[str]) -> "Links":
        for message in messages:
            self._devices.learn(message)
        for message in messages:
            ours = message.get("ifalias", "").startswith(ALIAS_PREFIX)
            if ours or message["ifname"] in names:
                link = parse_link(message, self._devices.name)
                if link is not None:
                    self._devices.own(message["index"])
                    yield message["index"], link

    def _read_addresses(
        self, links: dict[int, Link], wanted: Collection[Key], index: int = 0
    ) -> list[KernelObject]:
        found: list[KernelObject] = []
        for message in self._netlink.dump(dump_addresses(index=index)):
            link = links.get(message["index"])
            address = parse_address(message, link.name) if link is not None else None
            if address is not None and (not address.address.is_link_local or address.key in wanted):
                found.append(address)
        return found

    def _read_neighbours(self, links: dict[int, Link]) -> list[KernelObject]:
        """Return permanent neighbours and proxies on our devices, and FDB entries of our VTEPs."""
        found: list[KernelObject | None] = []
        only = next(iter(links)) if len(links) == 1 else 0
        for proxies in (False, True):
            for message in self._netlink.dump(dump_neighbours(ifindex=only, proxies=proxies)):
                link = links.get(message["ifindex"])
                if link is not None and (proxies or message["state"] & NUD_PERMANENT):
                    found.append(parse_neighbour(message, link.name))
        for index, link in links.items():
            if isinstance(link.kind, Vxlan):
                entries = self._netlink.dump(dump_fdb(ifindex=index))
                found += [
                    parse_neighbour(entry, link.name)
                    for entry in entries
                    if entry["ifindex"] == index and entry["state"] & NUD_PERMANENT
                ]
        return [item for item in found if item is not None]

    def _read_routes(self, oif: int) -> list[KernelObject]:
        found = [
            parse_route(message, self._devices.name)
            for family in (AF_INET, AF_INET6)
            for message in self._netlink.dump(dump_routes(family, protocol=ROUTE_PROTOCOL, oif=oif))
        ]
        return [route for route in found if route is not None]

    def _read_rules(self) -> list[KernelObject]:
        return [
            parse_rule(message)
            for family in (AF_INET, AF_INET6)
            for message in self._netlink.dump(dump_rules(family))
            if message.get("protocol") == ROUTE_PROTOCOL
        ]

    def _read_by_key(self, wanted: Collection[Key]) -> list[KernelObject]:
        """Return sysctls and tables, which are looked up one by one."""
        found: list[KernelObject] = []
        with self._inside():
            for key in wanted:
                if key.kind == "sysctl":
                    path = str(key.parts[0])
                    value = read_sysctl(path)
                    if value is not None:
                        found.append(Sysctl(path, value, device_of_path(path)))
                elif key.kind == "nft":
                    table = self._nft().read(str(key.parts[0]), str(key.parts[1]))
                    if table is not None:
                        found.append(table)
        return found

    # --- writing --------------------------------------------------------------------------------

    def apply(self, operations: Sequence[Operation]) -> list[KernelError | None]:
        """Carry out *operations* in order; one entry each, None for success."""
        outcomes: list[KernelError | None] = []
        for batch in _batches(operations):
            outcomes += self._apply_batch(batch)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if outcome is None:
                self._remember(operation)
        self._listen({str(op.key.parts[0]) for op in operations if op.key.kind == "link"})
        return outcomes

    def _listen(self, touched: Collection[str] = ()) -> None:
        """Take in notifications; keep what they mean for `drain`."""
        own = frozenset((self._netlink.port_id, *self._reaper.ports()))
        try:
            events = [*self._events.drain(ignored_ports=own), *self._nft_events.drain()]
            self._heard += self._translator.translate(events, touched)
        except DecodeError:
            self._heard.append(Overrun())
        if self._heard:
            os.eventfd_write(self._bell, 1)

    def _apply_batch(self, batch: Sequence[Operation]) -> list[KernelError | None]:
        first = batch[0]
        if first.key.kind == "link":
            if first.verb is Verb.DELETE:
                return self._delete_links(batch)
            if first.verb is Verb.CREATE:
                return [self._alone(op, self._create_link) for op in batch]
        if first.key.kind in ("sysctl", "nft"):
            with self._inside():
                write = self._write_sysctl if first.key.kind == "sysctl" else self._write_table
                return [self._alone(op, write) for op in batch]
        return self._send(batch)

    def _send(self, batch: Sequence[Operation]) -> list[KernelError | None]:
        """Send a batch of netlink operations; an operation may take more than one request."""
        requests: list[Request] = []  # type: ignore[type-arg]
        owners: list[int] = []
        outcomes: list[KernelError | None] = [None] * len(batch)
        for number, operation in enumerate(batch):
            try:
                mine = self._requests(operation)
            except NoDeviceError as error:
                if operation.verb is not Verb.DELETE:
                    outcomes[number] = error
                continue
            requests += mine
            owners += [number] * len(mine)
        for number, refusal in zip(owners, self._netlink.batch(requests), strict=True):
            if refusal is not None and not _harmless(batch[number], refusal):
                outcomes[number] = outcomes[number] or _kernel_error(refusal)
        return outcomes

    def _requests(self, operation: Operation) -> "list[Request]":  # type: ignore[type-arg]
        if operation.verb is Verb.DELETE:
            assert operation.observed is not None
            return self._delete_requests(operation.observed)
        assert operation.desired is not None
        if isinstance(operation.desired, Link):
            assert isinstance(operation.observed, Link)
            return list(change_requests(operation.desired, operation.observed, self._index))
        requests = self._write_requests(operation.desired)
        if _replace_falls_short(operation):
            assert operation.observed is not None
            return [*self._delete_requests(operation.observed), *requests]
        return requests

    def _write_requests(self, item: KernelObject) -> "list[Request]":  # type: ignore[type-arg]
        match item:
            case Route():
                return [replace_route(route_fields(item, self._index))]
            case Neighbour():
                return [replace_neighbour(neighbour_fields(item, self._index(item.dev)))]
            case FdbEntry():
                return [replace_fdb(fdb_fields(item, self._index(item.dev)))]
            case Address():
                return [replace_address(address_fields(item.address, self._index(item.dev)))]
            case Rule():
                return [create_rule(rule_fields(item))]
            case _:
                raise AssertionError(f"{item} is not written by one message")

    def _delete_requests(self, item: KernelObject) -> "list[Request]":  # type: ignore[type-arg]
        match item:
            case Route():
                return [delete_route(route_identity(item))]
            case Neighbour():
                return [delete_neighbour(neighbour_fields(item, self._index(item.dev)))]
            case FdbEntry():
                return [delete_fdb(fdb_fields(item, self._index(item.dev)))]
            case Address():
                return [delete_address(address_fields(item.address, self._index(item.dev)))]
            case Rule():
                return [delete_rule(rule_fields(item))]
            case _:
                raise AssertionError(f"{item} is not deleted by one message")

    def _index(self, dev: str) -> int:
        index = self._devices.index(dev)
        if not index:
            raise NoDeviceError(dev)
        return index

    def _alone(
        self, operation: Operation, write: Callable[[Operation], None]
    ) -> KernelError | None:
        try:
            with _worded(str(operation)):
                write(operation)
        except KernelError as error:
            return error
        return None

    def _create_link(self, operation: Operation) -> None:
        link = operation.desired
        assert isinstance(link, Link)

        def undo() -> None:
            index = self._refresh_device(link.name)
            if index:
                self._reaper.delete([index])
                self._devices.forget(index)

        def send(requests: "Sequence[Request]") -> None:  # type: ignore[type-arg]
            for error in self._netlink.batch(requests):
                if error is not None:
                    raise error

        if isinstance(link.kind, Veth):
            create_pair(
                self._netlink,
                link,
                lambda: send(after_create_requests(link, self._index)),
                undo,
            )
        else:
            create, *rest = create_requests(link, self._index, ipv6=self._ipv6)
            self._netlink.request(create)
            try:
                send(rest)
            except NetlinkError:
                undo()
                raise
        index = self._refresh_device(link.name)
        self._devices.own(index)

    def _delete_links(self, batch: Sequence[Operation]) -> list[KernelError | None]:
        indexes = [self._refresh_device(str(op.key.parts[0])) for op in batch]
        there = [index for index in indexes if index]
        refusals = dict(zip(there, self._reaper.delete(there), strict=True))
        for index in indexes:
            self._devices.forget(index)
        found = [refusals.get(index) for index in indexes]
        return [None if refusal is None else _kernel_error(refusal) for refusal in found]

    def _write_sysctl(self, operation: Operation) -> None:
        if isinstance(operation.desired, Sysctl):
            write_sysctl(operation.desired.path, operation.desired.value)

    def _write_table(self, operation: Operation) -> None:
        self._translator.own_commits += 1
        try:
            if isinstance(operation.desired, NftTable):
                self._nft().write(operation.desired)
            else:
                self._nft().delete(str(operation.key.parts[0]), str(operation.key.parts[1]))
        except KernelError:
            self._translator.own_commits -= 1
            raise

    def _remember(self, operation: Operation) -> None:
        if operation.verb is Verb.DELETE:
            self._written.discard(operation.key)
        else:
            self._written.add(operation.key)

    # --- notifications and the rest -------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable when `drain` has something."""
        return self._poll.fileno()

    def drain(self) -> list[KernelEvent]:
        """Return what others changed since the last call, without waiting."""
        self._listen()
        if self._heard:
            os.eventfd_read(self._bell)
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """Close everything; what is in the kernel stays there."""
        self._reaper.close()
        self._poll.close()
        os.close(self._bell)
        for item in (self._netlink, self._events, self._nft_events):
            item.close()
        if self._tables is not None:
            self._tables.close()

    def _inside(self) -> AbstractContextManager[None]:
        return nullcontext() if self._netns_fd is None else entered(self._netns_fd)

    def _nft(self) -> Tables:
        if self._tables is None:
            self._tables = Tables()
        return self._tables


class NoDeviceError(KernelError):
    """What shall be written stands on a device that does not exist."""

    def __init__(self, dev: str) -> None:
        super().__init__(errno.ENODEV, f"use device {dev}", "there is no such device")


class _worded:  # noqa: N801  (reads as a phrase: with _worded("..."))
    """Context manager that turns what the lower layers raise into a `KernelError`."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (NetlinkError, NetnsError)):
            raise _kernel_error(error) from error
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise KernelError(error.errno or errno.EIO, self._operation, reason) from error


def _batches(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """Yield runs of *operations* that go out together."""
    start = 0
    for stop in range(1, len(operations) + 1):
        if stop == len(operations) or _way(operations[stop]) != _way(operations[start]):
            yield operations[start:stop]
            start = stop


def _way(operation: Operation) -> tuple[str, Verb | None]:
    kind = operation.key.kind
    if kind == "link":
        return kind, operation.verb
    return (kind if kind in ("sysctl", "nft") else "netlink"), None


def _replace_falls_short(operation: Operation) -> bool:
    """Tell whether the kernel would keep the old object beside the new one.

    An IPv6 route with a gateway does not replace one without, nor the other way round
    (net/ipv6/ip6_fib.c, fib6_add_rt2node); it becomes a second way.
    """
    old, new = operation.observed, operation.desired
    if not (isinstance(old, Route) and isinstance(new, Route)) or new.dst.version == 4:
        return False
    return bool(old.via or old.nexthops) != bool(new.via or new.nexthops)


def _harmless(operation: Operation, error: NetlinkError) -> bool:
    """Tell whether the kernel is already as the operation would make it."""
    if operation.verb is Verb.DELETE:
        return error.is_not_found
    return isinstance(operation.desired, Rule) and error.is_exists


def _kernel_error(error: NetlinkError | NetnsError) -> KernelError:
    hint = {
        errno.EPERM: ": needs root or CAP_NET_ADMIN in this namespace",
        errno.EOPNOTSUPP: ": this kernel has no support for it",
        errno.EXFULL: ": a bridge has room for 1,023 pods, routed pods have no such limit",
    }
    reason = (error.strerror or "") + hint.get(error.errno, "")
    if isinstance(error, NetlinkError) and error.reason:
        reason += f" ({error.reason})"
    return KernelError(error.errno, error.operation, reason)
