"""Notifications of the kernel as `KernelEvent`s: what of ours did somebody else change?

In: rtnetlink and nfnetlink notifications. Out: events for the tracker. Why it is hard: most of the
traffic is none of our business (pods' neighbours, foreign routes) and must be dropped cheaply;
our own writes come back as notifications and must not count as drift; and a foreign object that
takes our key (a route replaced by another protocol's) is drift although it is not ours.
"""

from collections.abc import Callable, Collection, Iterable

from podway.kernel.addresses import parse_address
from podway.kernel.devices import Devices
from podway.kernel.links import parse_link
from podway.kernel.neighbours import parse_neighbour
from podway.kernel.protocol import DeviceChanged, KernelEvent, Overrun, Seen, UplinkChanged
from podway.kernel.routes import parse_route
from podway.kernel.rules import parse_rule
from podway.kernel.tables import changed
from podway.model.kernel import (
    ROUTE_PROTOCOL,
    Key,
    Neighbour,
    NftTable,
    Sysctl,
    link_key,
)
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    NTF_PROXY,
    NUD_PERMANENT,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWNETCONF,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_NETCONF,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV4_RULE,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV6_NETCONF,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV6_RULE,
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
)
from podway.netlink.events import OVERRUN, Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.links import LinkMessage

GROUPS = (
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV4_RULE,
    RTNLGRP_IPV6_RULE,
    RTNLGRP_IPV4_NETCONF,
    RTNLGRP_IPV6_NETCONF,
)
_NETCONF_DEVICES = {-1: "all", -2: "default"}
_NFT_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}


class Translator:
    """Turns notifications into kernel events.

    Args:
        devices: names and indexes, kept current from the notifications as they pass.
        written: keys of everything that this process wrote and did not delete.
    """

    def __init__(self, devices: Devices, written: set[Key]) -> None:
        self._devices = devices
        self._written = written
        self._tables: dict[tuple[str, str], NftTable | None] = {}
        # Commits of ours whose notifications have not come back yet.
        self.own_commits = 0
        self._readers: dict[int, Callable[[Event], list[KernelEvent]]] = {
            RTM_NEWLINK: self._new_link,
            RTM_DELLINK: self._gone_link,
            RTM_NEWROUTE: self._route,
            RTM_DELROUTE: self._route,
            RTM_NEWNEIGH: self._neighbour,
            RTM_DELNEIGH: self._neighbour,
            RTM_NEWADDR: self._address,
            RTM_DELADDR: self._address,
            RTM_NEWRULE: self._rule,
            RTM_DELRULE: self._rule,
            RTM_NEWNETCONF: self._netconf,
        }

    def translate(self, events: Iterable[Event], touched: Collection[str]) -> list[KernelEvent]:
        """Return what *events* mean.

        Args:
            events: notifications that are not of our own sockets' making.
            touched: devices that we have just made or changed ourselves. The kernel tells about
                every step of that in its own name; what it tells is older than what we know.
        """
        found: list[KernelEvent] = []
        for event in events:
            if event is OVERRUN:
                found.append(Overrun())
            elif event.type != RTM_NEWLINK or event.fields.get("ifname") not in touched:
                found += self._readers.get(event.type, self._table)(event)
        return found

    def _new_link(self, event: Event) -> list[KernelEvent]:
        fields: LinkMessage = event.fields  # type: ignore[assignment]
        if fields.get("family") == AF_BRIDGE:
            return self._port(event)
        index, dev = fields["index"], fields["ifname"]
        flipped = self._devices.learn(fields)
        if not self._devices.is_ours(index) and link_key(dev) not in self._written:
            return [DeviceChanged(dev)] if flipped else [UplinkChanged(dev)]
        link = parse_link(fields, self._devices.name)
        seen: list[KernelEvent] = [Seen(link.key, link)] if link is not None else []
        return [*seen, DeviceChanged(dev)] if flipped else seen

    def _gone_link(self, event: Event) -> list[KernelEvent]:
        fields: LinkMessage = event.fields  # type: ignore[assignment]
        if fields.get("family") == AF_BRIDGE:
            return []
        key = link_key(fields["ifname"])
        ours = self._devices.is_ours(fields["index"]) or key in self._written
        self._devices.forget(fields["index"])
        return [Seen(key, None)] if ours else [UplinkChanged(fields["ifname"])]

    def _port(self, event: Event) -> list[KernelEvent]:
        """A bridge port's settings: of interest only if somebody changed hairpin."""
        if not self._devices.is_ours(event.fields["index"]):
            return []
        link = self._devices.port_changed(
            event.fields["index"], event.fields.get("protinfo", {}).get("mode")
        )
        return [DeviceChanged(link)] if link else []

    def _route(self, event: Event) -> list[KernelEvent]:
        route = parse_route(event.fields, self._devices.name)  # type: ignore[arg-type]
        if route is None:
            return []
        if route.protocol != ROUTE_PROTOCOL and route.key not in self._written:
            return []
        return [Seen(route.key, None if event.type == RTM_DELROUTE else route)]

    def _neighbour(self, event: Event) -> list[KernelEvent]:
        fields = event.fields
        if not self._devices.is_ours(fields["ifindex"]):
            return []
        interesting = (
            fields["family"] == AF_BRIDGE
            or fields["flags"] & NTF_PROXY
            or fields["state"] & NUD_PERMANENT
            or event.type == RTM_DELNEIGH
        )
        entry = parse_neighbour(fields, self._devices.name(fields["ifindex"]))  # type: ignore[arg-type]
        if entry is None or not (interesting or entry.key in self._written):
            return []
        if isinstance(entry, Neighbour) and not interesting:
            return [Seen(entry.key, entry)]
        return [Seen(entry.key, None if event.type == RTM_DELNEIGH else entry)]

    def _address(self, event: Event) -> list[KernelEvent]:
        fields = event.fields
        dev = self._devices.name(fields["index"])
        if not self._devices.is_ours(fields["index"]):
            return [UplinkChanged(dev)] if dev else []
        address = parse_address(fields, dev)  # type: ignore[arg-type]
        if address is None:
            return []
        if address.address.is_link_local and address.key not in self._written:
            return []
        return [Seen(address.key, None if event.type == RTM_DELADDR else address)]

    def _rule(self, event: Event) -> list[KernelEvent]:
        if event.fields.get("protocol") != ROUTE_PROTOCOL:
            return []
        rule = parse_rule(event.fields)  # type: ignore[arg-type]
        return [Seen(rule.key, None if event.type == RTM_DELRULE else rule)]

    def _netconf(self, event: Event) -> list[KernelEvent]:
        fields = event.fields
        index = fields.get("ifindex", 0)
        dev = _NETCONF_DEVICES.get(index) or self._devices.name(index)
        family = "ipv4" if fields["family"] == AF_INET else "ipv6"
        proxy = "proxy_arp" if family == "ipv4" else "proxy_ndp"
        values = {
            f"{family}/conf/{dev}/forwarding": fields.get("forwarding"),
            f"{family}/conf/{dev}/{proxy}": fields.get("proxy_neigh"),
        }
        if family == "ipv4" and dev == "all":
            values["ipv4/ip_forward"] = fields.get("forwarding")
        shown = dev if index > 0 else ""
        found = [
            Sysctl(path, str(value), shown) for path, value in values.items() if value is not None
        ]
        return [Seen(item.key, item) for item in found if item.key in self._written]

    def _table(self, event: Event) -> list[KernelEvent]:
        """Collect the tables that a commit touched; its last message tells whose it was."""
        if event.name != "NFT_MSG_NEWGEN":
            family = _NFT_FAMILIES.get(event.fields.get("family", 0), "")
            name = event.fields.get("table", "")
            key = NftTable(family, name, "").key
            if key in self._written:
                gone = event.name == "NFT_MSG_DELTABLE"
                self._tables[family, name] = None if gone else changed(family, name)
            return []
        tables, self._tables = self._tables, {}
        if not tables:
            return []
        if self.own_commits:
            self.own_commits -= 1
            return []
        return [Seen(NftTable(*name, "").key, found) for name, found in tables.items()]
