"""One namespace's network stack in memory, with the kernel's own rules about what may be there.

In: objects to write and keys to delete, as `fake` gets them. Out: the state that the kernel would
hold, `Refused` with the kernel's errno where it would say no, and in `news` the keys of what went
along with something else *and* of which the kernel sends word. Why it is hard: most of what a
reconciler must cope with is not in any request but in what the kernel does besides (a device that
goes down takes IPv6 addresses, neighbours and routes along, IPv4 routes without a word).

The rules were read off a Linux 6.18 and are held to it by `tests/netns/kernel/test_conformance.py`.
"""

import errno as errnos
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from typing import assert_never

from msgspec.structs import replace

from podway.kernel.fake_rules import (
    check_name,
    check_table,
    goes_silently,
    is_same_subnet,
    is_same_tunnel,
    kind_word,
    survives_down,
)
from podway.kernel.fake_sysctls import FakeSysctls, Refused
from podway.kernel.known import devices_of
from podway.kernel.routes import without_hops
from podway.model.addresses import Family, IPAddress, derive_mac, family_of
from podway.model.kernel import (
    ROUTE_PROTOCOL,
    Address,
    AllowedIp,
    Bridge,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NextHop,
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
    link_key,
)

_MTU = 1500
_MTU_MIN = 68
_MTU_MAX = 65535


class FakeStack:
    """The state of one namespace.

    Attributes:
        objects: everything there is but sysctls, by key.
        sysctls: the values under /proc/sys/net.
        news: keys of what went as a consequence and of which the kernel sends notifications; the
            owner empties it.
    """

    def __init__(self, sysctls: Mapping[str, str] | None = None) -> None:
        self.objects: dict[Key, KernelObject] = {}
        self.sysctls = FakeSysctls(sysctls or {}, lambda: (link.name for link in self.links()))
        self.news: list[Key] = []
        self.offloads: dict[str, bool] = {}

    def find(self, key: Key) -> KernelObject | None:
        """Return what has *key*."""
        if key.kind == "sysctl":
            return self.sysctls.read(str(key.parts[0]))
        if key.kind == "offload":
            return self._offload(str(key.parts[0]))
        return self.objects.get(key)

    def _offload(self, dev: str) -> Offload | None:
        """Return what *dev* does; the kinds that are made here begin with all they can."""
        if link_key(dev) not in self.objects:
            return None
        return Offload(dev, self.offloads.get(dev, True))

    def links(self) -> Iterator[Link]:
        """Yield every device."""
        return (item for item in list(self.objects.values()) if isinstance(item, Link))

    def link(self, name: str) -> Link:
        """Return the device called *name*; ENODEV without one."""
        link = self.objects.get(link_key(name))
        if not isinstance(link, Link):
            raise Refused(errnos.ENODEV, f"there is no device {name}")
        return link

    def on(self, dev: str) -> list[KernelObject]:
        """Return what stands on device *dev*, without its link."""
        return [
            item
            for item in self.objects.values()
            if not isinstance(item, Link) and dev in devices_of(item)
        ]

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
                self._check_route(item)
                self.objects[item.key] = item
            case Neighbour():
                self._check_neighbour(item)
                self.objects[item.key] = item
            case FdbEntry():
                self._check_fdb(item)
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
        check_name(wanted.name)
        there = self.objects.get(wanted.key)
        if isinstance(there, Link):
            self._check_same_kind(wanted, there)
        else:
            self._check_new_kind(wanted)
            there = self._fresh(wanted)
        self._check_settings(wanted)
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

    def _check_same_kind(self, wanted: Link, there: Link) -> None:
        if type(wanted.kind) is not type(there.kind):
            raise Refused(errnos.EEXIST, f"{there.name} is a {kind_word(there)}")
        if isinstance(wanted.kind, Vxlan) and wanted.kind != there.kind:
            raise Refused(errnos.EEXIST, f"{there.name} is a VXLAN device with other parameters")

    def _check_new_kind(self, wanted: Link) -> None:
        kind = wanted.kind
        if not isinstance(kind, Vxlan):
            return
        self.link(kind.underlay)
        for other in self.links():
            if isinstance(other.kind, Vxlan) and is_same_tunnel(kind, other.kind):
                raise Refused(errnos.EEXIST, "A VXLAN device with the specified VNI already exists")

    def _check_settings(self, wanted: Link) -> None:
        if wanted.mtu is not None and not _MTU_MIN <= wanted.mtu <= _MTU_MAX:
            raise Refused(errnos.EINVAL, f"mtu {wanted.mtu} is not between 68 and 65535")
        if wanted.mac is not None and (int(wanted.mac[:2], 16) & 1 or not wanted.mac.strip("0:")):
            raise Refused(errnos.EADDRNOTAVAIL, f"{wanted.mac} is no unicast address")
        if wanted.master and not isinstance(self.link(wanted.master).kind, Bridge):
            raise Refused(errnos.EOPNOTSUPP, f"{wanted.master} is no bridge")
        if wanted.hairpin and not wanted.master:
            raise Refused(errnos.EOPNOTSUPP, f"{wanted.name} is no bridge port")

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
        return any(self._is_up(hop.dev) for hop in route.nexthops)

    def _is_up(self, dev: str) -> bool:
        link = self.objects.get(link_key(dev))
        return isinstance(link, Link) and link.up

    # --- addresses ------------------------------------------------------------------------------

    def _write_address(self, item: Address) -> None:
        self.link(item.dev)
        if family_of(item.address) is Family.IPV6:
            if self.sysctls.value(f"ipv6/conf/{item.dev}/disable_ipv6") == "1":
                raise Refused(errnos.EACCES, f"IPv6 is disabled on {item.dev}")
            for other in self._addresses(item.dev):
                # IPv6 does not take the prefix length for part of an address' identity.
                if other.address.ip == item.address.ip and other.key != item.key:
                    del self.objects[other.key]
                    self.news.append(other.key)
        self.objects[item.key] = item

    def _addresses(self, dev: str = "") -> list[Address]:
        return [
            item
            for item in self.objects.values()
            if isinstance(item, Address) and dev in {"", item.dev}
        ]

    def _delete_address(self, item: Address) -> None:
        """Delete *item* with what stood on it: its secondaries, and routes that named it."""
        alike = [other for other in self._addresses(item.dev) if is_same_subnet(other, item)]
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
            if not isinstance(route, Route) or route.src is None or self._is_local(route.src):
                continue
            if family_of(route.dst) is family:
                self._without_source(route)

    def _without_source(self, route: Route) -> None:
        if family_of(route.dst) is Family.IPV4:
            del self.objects[route.key]
        else:
            self.objects[route.key] = replace(route, src=None)

    # --- routes, neighbours, FDB ----------------------------------------------------------------

    def _check_route(self, route: Route) -> None:
        family = family_of(route.dst)
        if family is Family.IPV6 and route.metric == 0:
            raise Refused(errnos.EINVAL, "an IPv6 route has a metric above 0; the kernel's is 1024")
        if route.kind != "unicast":
            if route.dev or route.nexthops or route.via:
                raise Refused(errnos.EINVAL, f"a {route.kind} route leads nowhere")
            return
        hops = route.nexthops or (NextHop(route.dev, route.via, onlink=route.onlink),)
        for hop in hops:
            self.link(hop.dev)
        for hop in hops:
            self._check_hop(hop, route)
        if route.src is not None and not self._is_local(route.src):
            raise Refused(errnos.EINVAL, f"{route.src} is no address of this node")

    def _check_hop(self, hop: NextHop, route: Route) -> None:
        if not self.link(hop.dev).up:
            self._refuse_down(hop, route)
        if hop.via is None:
            return
        family = family_of(route.dst)
        if family is Family.IPV6 and self._is_local(hop.via):
            raise Refused(errnos.EINVAL, "Gateway can not be a local address")
        if family is Family.IPV4 and route.scope == "link":
            raise Refused(errnos.ENETUNREACH, "Nexthop has invalid gateway")
        if not hop.onlink and not self._is_on_link(hop.via, hop.dev):
            number = errnos.ENETUNREACH if family is Family.IPV4 else errnos.EHOSTUNREACH
            raise Refused(number, f"{hop.via} is not reachable on {hop.dev}")

    def _refuse_down(self, hop: NextHop, route: Route) -> None:
        if hop.via is None or hop.onlink:
            raise Refused(errnos.ENETDOWN, f"{hop.dev} is not up")
        family = family_of(route.dst)
        number = errnos.ENETUNREACH if family is Family.IPV4 else errnos.EHOSTUNREACH
        raise Refused(number, f"{hop.via} is not reachable on {hop.dev}: it is not up")

    def _is_local(self, address: IPAddress) -> bool:
        return any(other.address.ip == address for other in self._addresses())

    def _is_on_link(self, via: IPAddress, dev: str) -> bool:
        """Tell whether some prefix says that *via* is a neighbour on *dev*."""
        if isinstance(via, IPv6Address) and via.is_link_local:
            return True
        return any(via in item.address.network for item in self._addresses(dev)) or any(
            isinstance(item, Route) and item.via is None and via in item.dst
            for item in self.on(dev)
        )

    def _check_neighbour(self, item: Neighbour) -> None:
        self.link(item.dev)
        if not item.proxy and not item.mac:
            raise Refused(errnos.EINVAL, "a permanent neighbour needs a MAC")

    def _check_fdb(self, item: FdbEntry) -> None:
        kind = self.link(item.dev).kind
        if not isinstance(kind, Vxlan):
            raise Refused(errnos.EOPNOTSUPP, f"{item.dev} is no VXLAN device")
        if family_of(kind.local) is not family_of(item.dst):
            raise Refused(errnos.EAFNOSUPPORT, f"{item.dev} tunnels over the other family")
