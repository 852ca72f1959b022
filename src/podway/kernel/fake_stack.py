"""One namespace's network stack in memory, with the kernel's own rules about what may be there.

In: objects to write and keys to delete, as `fake` gets them. Out: the state that the kernel would
hold, `Refused` with the kernel's errno where it would say no, and in `news` the keys of what went
along with something else *and* of which the kernel sends word. What may not be written is for
`fake_refusals` to say; here is what comes of what is written. Why it is hard: most of what a
reconciler must cope with is not in any request but in what the kernel does besides (a device that
goes down takes IPv6 addresses, neighbours and routes along, IPv4 routes without a word).

The rules were read off a Linux 6.18 and are held to it by `tests/netns/kernel/test_conformance.py`.
"""

from collections.abc import Mapping
from typing import assert_never

from msgspec.structs import replace

from podway.kernel.fake_objects import FakeObjects
from podway.kernel.fake_refusals import (
    check_address,
    check_fdb,
    check_link,
    check_neighbour,
    check_route,
)
from podway.kernel.fake_rules import check_table, goes_silently, is_same_subnet, survives_down
from podway.kernel.routes import without_hops
from podway.model.addresses import Family, derive_mac, family_of
from podway.model.kernel import (
    ROUTE_PROTOCOL,
    Address,
    AllowedIp,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NftTable,
    Offload,
    Route,
    Rule,
    Sysctl,
    UdpPeer,
    UdpRelay,
    Vxlan,
    WireguardDevice,
    WireguardPeer,
)

_MTU = 1500


class FakeStack(FakeObjects):
    """The stack of one namespace.

    Attributes:
        news: keys of what went as a consequence and of which the kernel sends notifications; the
            owner empties it.
    """

    def __init__(self, sysctls: Mapping[str, str] | None = None) -> None:
        super().__init__(sysctls)
        self.news: list[Key] = []

    # --- writing --------------------------------------------------------------------------------

    def write(self, item: KernelObject) -> None:  # noqa: C901  (one for each kind)
        """Create *item*, or turn what has its key into it.

        Raises:
            Refused: the kernel would not have it.
        """
        match item:
            case Link():
                self._write_link(item)
            case Address():
                self._write_address(item)
            case Route():
                check_route(self, item)
                self.objects[item.key] = item
            case Neighbour():
                check_neighbour(self, item)
                self.objects[item.key] = item
            case FdbEntry():
                check_fdb(self, item)
                self.objects[item.key] = item
            case Offload():
                self.link(item.dev)
                self.offloads[item.dev] = item.tx_checksum
            case WireguardDevice() | WireguardPeer() | AllowedIp() | UdpRelay() | UdpPeer():
                self.link(item.dev)
                self.objects[item.key] = item
            case Rule():
                self._write_rule(item)
            case Sysctl():
                self.sysctls.write(item)
            case NftTable():
                check_table(item)
                self.objects[item.key] = item
            case _:
                assert_never(item)

    def delete(self, key: Key) -> None:
        """Take away what has *key* and what cannot be without it; gone already is fine.

        A sysctl stays as it is: nobody knows what it was before.
        """
        item = self.objects.get(key)
        if item is None:
            return
        match item:
            case Link():
                self._delete_link(item)
            case Address():
                self._delete_address(item)
            case _:
                del self.objects[key]

    def _write_rule(self, item: Rule) -> None:
        """Enter *item*; one that differs in the protocol alone is another rule, and ours counts."""
        there = self.objects.get(item.key)
        if not isinstance(there, Rule) or there.protocol != ROUTE_PROTOCOL:
            self.objects[item.key] = item

    # --- links ----------------------------------------------------------------------------------

    def _write_link(self, wanted: Link) -> None:
        check_link(self, wanted)
        there = self.objects.get(wanted.key)
        if not isinstance(there, Link):
            there = self._fresh(wanted)
        self.objects[wanted.key] = replace(
            wanted,
            mtu=there.mtu if wanted.mtu is None else wanted.mtu,
            mac=there.mac if wanted.mac is None else wanted.mac,
            hairpin=bool(there.hairpin if wanted.hairpin is None else wanted.hairpin)
            and bool(wanted.master),
        )
        if wanted.mac not in {None, there.mac}:
            self._changed_mac(wanted.name)
        if there.up and not wanted.up:
            self._went_down(wanted.name)

    def _fresh(self, wanted: Link) -> Link:
        """Return a device as the kernel makes it when nothing is said of it."""
        mtu = _MTU
        if isinstance(wanted.kind, Vxlan):
            outer = self.link(wanted.kind.underlay).mtu or _MTU
            mtu = outer - (50 if family_of(wanted.kind.local) is Family.IPV4 else 70)
        return Link(name=wanted.name, kind=wanted.kind, mtu=mtu, mac=derive_mac(wanted.name))

    def _delete_link(self, link: Link) -> None:
        del self.objects[link.key]
        for item in self.on(link.name):
            self.objects.pop(item.key, None)
            left = self._left_of(item, link.name)
            if left is not None:
                self.objects[item.key] = left
            if not goes_silently(item):
                self.news.append(item.key)
        # IPv6 looks after sources when an address is deleted, not when its device goes.
        self._drop_sources(Family.IPV4)
        self.sysctls.forget(link.name)
        for other in self.links():
            if other.master == link.name:
                self.objects[other.key] = replace(other, master="", hairpin=False)
                self.news.append(other.key)
            if isinstance(other.kind, Vxlan) and other.kind.underlay == link.name:
                self._delete_link(other)
                self.news.append(other.key)

    def _left_of(self, item: KernelObject, dev: str) -> Route | None:
        """Return what a multipath route becomes without *dev*: in IPv4 nothing."""
        if not isinstance(item, Route) or item.dst.version == 4:
            return None
        lost = tuple(hop for hop in item.nexthops if hop.dev == dev)
        return without_hops(item, replace(item, nexthops=lost)) if lost else None

    def _changed_mac(self, dev: str) -> None:
        """Forget the neighbours of *dev*, permanent ones too (neigh_changeaddr)."""
        for item in self.on(dev):
            if isinstance(item, Neighbour) and not item.proxy:
                del self.objects[item.key]
                self.news.append(item.key)

    def _went_down(self, dev: str) -> None:
        for item in self.on(dev):
            if survives_down(item) or (isinstance(item, Route) and self._another_way(item)):
                continue
            del self.objects[item.key]
            if not goes_silently(item):
                self.news.append(item.key)

    def _another_way(self, route: Route) -> bool:
        return any(self.is_up(hop.dev) for hop in route.nexthops)

    # --- addresses ------------------------------------------------------------------------------

    def _write_address(self, item: Address) -> None:
        check_address(self, item)
        if family_of(item.address) is Family.IPV6:
            for other in self.addresses(item.dev):
                # IPv6 does not take the prefix length for part of an address' identity.
                if other.address.ip == item.address.ip and other.key != item.key:
                    del self.objects[other.key]
                    self.news.append(other.key)
        self.objects[item.key] = item

    def _delete_address(self, item: Address) -> None:
        """Delete *item* with what stood on it: its secondaries, and routes that named it."""
        alike = [other for other in self.addresses(item.dev) if is_same_subnet(other, item)]
        del self.objects[item.key]
        if alike[0] == item:
            for secondary in alike[1:]:
                del self.objects[secondary.key]
                self.news.append(secondary.key)
        self._drop_sources(Family.IPV4)
        self._drop_sources(Family.IPV6)

    def _drop_sources(self, family: Family) -> None:
        """Let routes go (IPv6: let go of their source) whose source is no address any more."""
        for route in list(self.objects.values()):
            if not isinstance(route, Route) or route.src is None or self.is_local(route.src):
                continue
            if family_of(route.dst) is family:
                self._without_source(route)

    def _without_source(self, route: Route) -> None:
        if family_of(route.dst) is Family.IPV4:
            del self.objects[route.key]
        else:
            self.objects[route.key] = replace(route, src=None)
