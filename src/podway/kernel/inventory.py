"""What the kernel holds: everything of ours, or what stands on one device, in a few listings.

In: the keys that somebody wants. Out: objects by key. Why it is hard: a listing costs with what
there is, not with what is ours, so each is filtered where the kernel can (routes by protocol or
device, neighbours by device), and what is wanted but not ours is looked for only when it was not
found among ours.

Where several routes have one key (another program appended one), the first counts: it is the one
that the kernel uses.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from podway.kernel.addresses import parse_address
from podway.kernel.devices import Devices, find_link
from podway.kernel.links import parse_link
from podway.kernel.neighbours import parse_neighbour
from podway.kernel.offloads import read_tx_checksum
from podway.kernel.ownership import is_our_link
from podway.kernel.routes import parse_route
from podway.kernel.rules import parse_rule
from podway.kernel.sysctls import device_of_path, read_sysctl
from podway.kernel.tables import Tables
from podway.model.addresses import Family
from podway.model.instances import PODWAY, Marks
from podway.model.kernel import (
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Offload,
    Sysctl,
    Tun,
    Wireguard,
)
from podway.netlink import (
    NetlinkSocket,
    dump_addresses,
    dump_fdb,
    dump_links,
    dump_neighbours,
    dump_routes,
    dump_rules,
)
from podway.netlink.constants import IFAPROT_KERNEL_LL

if TYPE_CHECKING:
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.link_messages import LinkMessage

State = dict[Key, KernelObject]


class Inventory:
    """Reads one namespace.

    Args:
        netlink: to ask with.
        devices: for names.
        tables: gives the nftables tables; called only where tables matter.
        inside: a context in which /proc/sys/net and nftables are the namespace's.
        wireguard: returns what a WireGuard device is configured with; None: it does not answer.
        relay: returns what the process that serves a TUN device was told.
        marks: tell what is ours.
    """

    def __init__(
        self,
        netlink: NetlinkSocket,
        devices: Devices,
        tables: Callable[[], Tables],
        inside: Callable[[], AbstractContextManager[None]],
        *,
        wireguard: Callable[[str], State | None],
        relay: Callable[[str], State],
        marks: Marks = PODWAY,
    ) -> None:
        self._marks = marks
        self._netlink = netlink
        self._devices = devices
        self._tables = tables
        self._inside = inside
        self._wireguard = wireguard
        self._relay = relay

    def links(self) -> "Sequence[LinkMessage]":
        """Return every device as the kernel describes it."""
        return self._netlink.dump(dump_links())

    def read(self, messages: "Sequence[LinkMessage]", wanted: Collection[Key]) -> State:
        """Return everything of ours, and what else has a key in *wanted*.

        *messages* are all devices, see `links`.
        """
        by_kind = _by_kind(wanted)
        names = {message["index"]: message["ifname"] for message in messages}
        state: State = {}
        ours = self._take_links(state, messages, by_kind.get("link", set()))
        self._take_addresses(state, names, ours, by_kind.get("address", set()))
        self._take_neighbours(state, names, ours, wanted)
        for message in messages:
            if message.get("linkinfo", {}).get("kind") == "vxlan":
                self._take_fdb(state, message, ours, by_kind.get("fdb", set()))
        self._take_routes(state, by_kind.get("route", set()))
        self._take_rules(state)
        self._take_sysctls(state, by_kind.get("sysctl", set()))
        self._take_offloads(state, by_kind.get("offload", set()))
        self._take_tables(state, by_kind.get("nft", set()))
        return state

    def read_dev(self, dev: str, wanted: Collection[Key]) -> State:
        """Return what there is of *dev*, and what has a key in *wanted*."""
        by_kind = _by_kind(wanted)
        state: State = {}
        message = find_link(self._netlink, dev)
        if message is not None:
            index, names = message["index"], {message["index"]: dev}
            ours = self._take_links(state, [message], by_kind.get("link", set()))
            self._take_addresses(state, names, ours, by_kind.get("address", set()), index)
            self._take_neighbours(state, names, ours, wanted, index)
            if message.get("linkinfo", {}).get("kind") == "vxlan":
                self._take_fdb(state, message, ours, by_kind.get("fdb", set()))
        self._take_routes(state, by_kind.get("route", set()), message["index"] if message else -1)
        self._take_sysctls(state, by_kind.get("sysctl", set()))
        self._take_offloads(state, by_kind.get("offload", set()))
        return state

    def read_silent(self, wanted: Collection[Key]) -> State:
        """Return the sysctls and offloads among *wanted* that exist."""
        by_kind = _by_kind(wanted)
        state: State = {}
        self._take_sysctls(state, by_kind.get("sysctl", set()))
        self._take_offloads(state, by_kind.get("offload", set()))
        return state

    # --- by kind --------------------------------------------------------------------------------

    def _take_links(
        self, state: State, messages: "Iterable[LinkMessage]", wanted: set[Key]
    ) -> set[int]:
        """Enter links; return the indexes of those that bear our mark or are wanted."""
        found = set()
        for message in messages:
            link = parse_link(message, self._devices.name, self._marks)
            if link is not None and (is_our_link(link, self._marks) or link.key in wanted):
                state[link.key] = link
                found.add(message["index"])
                if isinstance(link.kind, Wireguard):
                    self._take_wireguard(state, link)
                elif isinstance(link.kind, Tun):
                    state.update(self._relay(link.name))
        return found

    def _take_wireguard(self, state: State, link: Link) -> None:
        """Enter what *link* is configured with; one that cannot tell has to be made anew."""
        found = self._wireguard(link.name)
        if found is None:
            state[link.key] = replace(link, alias=self._marks.unfinished)
        else:
            state.update(found)

    def _take_addresses(
        self, state: State, names: dict[int, str], ours: set[int], wanted: set[Key], index: int = 0
    ) -> None:
        if not (ours or wanted):
            return
        for message in self._netlink.dump(dump_addresses(index=index)):
            address = parse_address(message, names.get(message["index"], ""))
            if address is None:
                continue
            is_ours = message["index"] in ours and not made_by_kernel(message)
            if is_ours or address.key in wanted:
                state[address.key] = address

    def _take_neighbours(
        self,
        state: State,
        names: dict[int, str],
        ours: set[int],
        wanted: Collection[Key],
        index: int = 0,
    ) -> None:
        if not ours and not any(key.kind in {"neighbour", "proxy"} for key in wanted):
            return
        for proxies in (False, True):
            for message in self._netlink.dump(dump_neighbours(ifindex=index, proxies=proxies)):
                entry = parse_neighbour(message, names.get(message["ifindex"], ""))
                if entry is not None and (message["ifindex"] in ours or entry.key in wanted):
                    state[entry.key] = entry

    def _take_fdb(
        self, state: State, vtep: "LinkMessage", ours: set[int], wanted: set[Key]
    ) -> None:
        index = vtep["index"]
        if index not in ours and not wanted:
            return
        for message in self._netlink.dump(dump_fdb(ifindex=index)):
            entry = parse_neighbour(message, vtep["ifname"])
            if isinstance(entry, FdbEntry) and (index in ours or entry.key in wanted):
                state[entry.key] = entry

    def _take_routes(self, state: State, wanted: set[Key], oif: int = 0) -> None:
        """Enter routes of ours, of device *oif* alone if given (-1: of none), and wanted ones."""
        if oif >= 0:
            for family in Family:
                request = dump_routes(family, protocol=self._marks.protocol, oif=oif)
                for message in self._netlink.dump(request):
                    route = parse_route(message, self._devices.name)
                    if route is not None:
                        state.setdefault(route.key, route)
        missing = {key for key in wanted if key not in state}
        for number, table in {(int(key.parts[0]), int(key.parts[1])) for key in missing}:
            for message in self._netlink.dump(dump_routes(number, table=table)):
                route = parse_route(message, self._devices.name)
                if route is not None and route.key in missing:
                    state.setdefault(route.key, route)

    def _take_rules(self, state: State) -> None:
        """Enter rules of ours; another program's is another rule, even if it says the same."""
        for family in Family:
            for message in self._netlink.dump(dump_rules(family)):
                if message.get("protocol") == self._marks.protocol:
                    rule = parse_rule(message)
                    if rule is not None:
                        state[rule.key] = rule

    def _take_sysctls(self, state: State, wanted: set[Key]) -> None:
        if not wanted:
            return
        with self._inside():
            for key in wanted:
                path = str(key.parts[0])
                value = read_sysctl(path)
                if value is not None:
                    state[key] = Sysctl(path, value, device_of_path(path))

    def _take_offloads(self, state: State, wanted: set[Key]) -> None:
        for key in wanted:
            dev = str(key.parts[0])
            found = read_tx_checksum(self._netlink.fileno(), dev)
            if found is not None:
                state[key] = Offload(dev, found)

    def _take_tables(self, state: State, wanted: set[Key]) -> None:
        with self._inside():
            for table in self._tables().read(wanted):
                state[table.key] = table


def made_by_kernel(message: "AddressMessage") -> bool:
    """Tell whether nobody asked for an address: IPv6 link-local, made of the MAC."""
    return message.get("proto") == IFAPROT_KERNEL_LL


def _by_kind(wanted: Collection[Key]) -> dict[str, set[Key]]:
    kinds: dict[str, set[Key]] = {}
    for key in wanted:
        kinds.setdefault(key.kind, set()).add(key)
    return kinds
