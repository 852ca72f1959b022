"""Notifications of the kernel as `KernelEvent`s: what of ours did somebody else change?

In: rtnetlink and nfnetlink notifications, in the kernel's order. Out: events for the tracker, one
for each thing that changed. Why it is hard: most of the traffic is none of our business (pods'
neighbours, foreign routes) and must be dropped cheaply; our own writes come back as notifications
and must not count as drift; and a foreign object that takes our key (a route replaced by another
protocol's) is drift although it is not ours. So the last state of every key is compared with what
we believe (`known`), and devices are followed from notification to notification
(`followed_devices`): their names at that moment are what other notifications mean by an index.
Tables change by whole commits (`commits`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from podway.kernel.addresses import parse_address
from podway.kernel.commits import Commits
from podway.kernel.followed_devices import FollowedDevice, FollowedDevices
from podway.kernel.inventory import made_by_kernel
from podway.kernel.known import Known, devices_of
from podway.kernel.links import parse_link
from podway.kernel.neighbours import parse_neighbour, parse_neighbour_key
from podway.kernel.protocol import ForwardChanged, KernelEvent, Overrun, Seen
from podway.kernel.routes import parse_route, without_hops
from podway.kernel.rules import parse_rule
from podway.kernel.sysctls import device_of_path
from podway.model.instances import PODWAY, Marks
from podway.model.kernel import (
    KernelObject,
    Key,
    Link,
    Route,
    Sysctl,
    link_key,
)
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    BRIDGE_MODE_HAIRPIN,
    NETCONFA_IFINDEX_ALL,
    NETCONFA_IFINDEX_DEFAULT,
    RT_TABLE_LOCAL,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_F_CLONED,
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

if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage

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
_NETCONF_DEVICES = {NETCONFA_IFINDEX_ALL: "all", NETCONFA_IFINDEX_DEFAULT: "default"}
_PROXY_LEAVES = {"ipv4": "proxy_arp", "ipv6": "proxy_ndp"}


class Translator:
    """Turns notifications into kernel events.

    Args:
        known: what we wrote and read; what is reported becomes part of it.
        name_of: gives a device's name for its index, "" for none; for devices that no
            notification spoke of yet.
        marks: tell what is ours.
        is_drop: tells whether a notification of nftables is about a chain of somebody else's that
            may drop what is forwarded.
    """

    def __init__(
        self,
        known: Known,
        name_of: Callable[[int], str],
        marks: Marks = PODWAY,
        *,
        is_drop: Callable[[Event], bool] = lambda _event: False,
    ) -> None:
        self._marks = marks
        self._known = known
        self._devices = FollowedDevices(known, name_of, marks)
        self._commits = Commits(known, marks, is_drop)
        self._found: dict[Key, KernelObject | None] = {}
        self._overrun = False
        self._readers: dict[int, Callable[[Event], None]] = {
            RTM_NEWLINK: self._new_link,
            RTM_DELLINK: self._deleted_link,
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

    # --- what the kernel's owner tells ----------------------------------------------------------

    def start_from(self, messages: "Iterable[LinkMessage]") -> None:
        """Take *messages* as all devices that there are: at start, and after an overrun."""
        self._devices.start_from(messages)

    def expect_flip(self, dev: str, *, up: bool) -> None:
        """Take in that *dev* is about to go up or down by our own doing."""
        self._devices.expect_flip(dev, up=up)

    def supersede(self, state: Mapping[Key, KernelObject], dev: str = "") -> None:
        """Take *state* as all that there is (on *dev*): what was told of it before is old.

        A notification from before the reading may speak of something that the kernel took away in
        silence since.
        """
        if not dev:
            self._known.put_all(state)
            self._found.clear()
            return
        old = self._known.on_device(dev)
        self._known.put_device(dev, state)
        for key, found in list(self._found.items()):
            if key in state or key in old or (found is not None and dev in devices_of(found)):
                del self._found[key]

    def forget(self, key: Key) -> None:
        """Take what was told of *key* for what it was on the way to what we know it to be."""
        self._found.pop(key, None)

    def lose(self) -> None:
        """Take in that notifications were lost."""
        self._overrun = True

    # --- what the kernel tells ------------------------------------------------------------------

    def take(self, events: Iterable[Event]) -> None:
        """Take in notifications of rtnetlink."""
        for event in events:
            if event is OVERRUN:
                self._overrun = True
                continue
            read = self._readers.get(event.type)
            if read is not None:
                read(event)

    def take_commits(self, events: Sequence[Event], *, own: bool = False) -> None:
        """Take in notifications of nftables.

        Args:
            events: the notifications; the last one of a commit is its generation.
            own: we just made a commit ourselves. If there is but one, it is that.
        """
        whole = [event for event in events if event is not OVERRUN]
        self._overrun |= len(whole) < len(events)
        self._found.update(self._commits.take(whole, own=own))

    def settle(self) -> None:
        """Drop what is no news: every notification of what we did has come."""
        self._found = {
            key: found for key, found in self._found.items() if not self._known.agrees(key, found)
        }
        self._devices.settle()

    def news(self) -> list[KernelEvent]:
        """Return what is new since the last call; from now on we know."""
        self.settle()
        events: list[KernelEvent] = [Overrun()] if self._overrun else []
        for key, found in self._found.items():
            self._known.put(key, found)
            events.append(Seen(key, found))
        events += self._devices.news()
        events += [ForwardChanged()] if self._commits.forward else []
        self._found, self._overrun, self._commits.forward = {}, False, False
        return events

    @property
    def has_news(self) -> bool:
        """Tell whether `news` has something, once all is settled."""
        marks = self._found or self._devices.has_news
        return bool(marks or self._commits.forward or self._overrun)

    # --- devices --------------------------------------------------------------------------------

    def _new_link(self, event: Event) -> None:
        fields = event.fields
        if fields["family"] == AF_BRIDGE:
            self._port(fields["index"], fields)
            return
        before, after = self._devices.put(fields)
        if before is not None and before.name != after.name:
            self._gone(before)
            before = None
        if self._devices.is_ours(after) or (before is not None and before.ours):
            link = parse_link(fields, self._devices.name, self._marks)  # type: ignore[arg-type]
            self._found[link_key(after.name)] = link

    def _deleted_link(self, event: Event) -> None:
        if event.fields["family"] == AF_BRIDGE:  # a port left its bridge
            return
        before = self._devices.remove(event.fields["index"])
        if before is not None:
            self._gone(before)

    def _gone(self, before: FollowedDevice) -> None:
        if self._devices.is_ours(before):
            self._found[link_key(before.name)] = None

    def _port(self, index: int, fields: Mapping[str, Any]) -> None:
        """Take in how a bridge treats its port; of that, hairpin alone is ours."""
        device = self._devices.get(index)
        mode = fields.get("protinfo", {}).get("mode")
        if device is None or mode is None:
            return
        key = link_key(device.name)
        link = self._found.get(key) or self._known.get(key)
        if isinstance(link, Link) and link.master:
            self._found[key] = replace(link, hairpin=mode == BRIDGE_MODE_HAIRPIN)

    def _follows(self, key: Key) -> bool:
        """Tell whether what becomes of *key* matters, whoever does it."""
        return key in self._known or key in self._found

    # --- what stands on devices -----------------------------------------------------------------

    def _route(self, event: Event) -> None:
        fields = event.fields
        if fields["table"] == RT_TABLE_LOCAL or fields["flags"] & RTM_F_CLONED:
            return
        route = parse_route(fields, self._devices.name)  # type: ignore[arg-type]  # a RouteMessage
        if route is None or not (
            route.protocol == self._marks.protocol or self._follows(route.key)
        ):
            return
        self._found[route.key] = self._left_of(route) if event.type == RTM_DELROUTE else route

    def _left_of(self, gone: Route) -> Route | None:
        """Return what is left at the key of a route that went, in whole or in part."""
        there = self._found.get(gone.key, self._known.get(gone.key))
        if isinstance(there, Route) and there.nexthops and there.dst.version == 6:
            return without_hops(there, gone)
        return None

    def _neighbour(self, event: Event) -> None:
        fields = event.fields
        device = self._devices.get(fields["ifindex"])
        if device is None or not self._devices.is_ours(device):
            return
        key = parse_neighbour_key(fields, device.name)  # type: ignore[arg-type]
        if key is None:
            return
        entry = None
        if event.type == RTM_NEWNEIGH:
            entry = parse_neighbour(fields, device.name)  # type: ignore[arg-type]
        if entry is not None or self._follows(key):
            self._found[key] = entry

    def _address(self, event: Event) -> None:
        fields = event.fields
        device = self._devices.get(fields["index"])
        if device is None:
            return
        if not self._devices.is_ours(device):
            self._devices.changed_uplink(device.name)
            return
        address = parse_address(fields, device.name)  # type: ignore[arg-type]
        if address is None:
            return
        if made_by_kernel(fields) and not self._follows(address.key):  # type: ignore[arg-type]
            return
        self._found[address.key] = None if event.type == RTM_DELADDR else address

    # --- what stands on none --------------------------------------------------------------------

    def _rule(self, event: Event) -> None:
        rule = parse_rule(event.fields)  # type: ignore[arg-type]  # a RuleMessage
        if rule is not None and rule.protocol == self._marks.protocol:
            self._found[rule.key] = None if event.type == RTM_DELRULE else rule

    def _netconf(self, event: Event) -> None:
        fields = event.fields
        index = fields.get("ifindex", 0)
        dev = _NETCONF_DEVICES.get(index) or self._devices.name(index)
        family = "ipv4" if fields["family"] == AF_INET else "ipv6"
        values = {
            f"{family}/conf/{dev}/forwarding": fields.get("forwarding"),
            f"{family}/conf/{dev}/rp_filter": fields.get("rp_filter"),
            f"{family}/conf/{dev}/{_PROXY_LEAVES[family]}": fields.get("proxy_neigh"),
        }
        if family == "ipv4" and dev == "all":
            values["ipv4/ip_forward"] = fields.get("forwarding")
        for path, value in values.items():
            item = Sysctl(path, str(value), device_of_path(path))
            if value is not None and item.key in self._known:
                self._found[item.key] = item
