"""podway's own netlink: links, addresses, routes, neighbours, rules, traffic and notifications.

For the agent and for CNI executables that live for ten milliseconds: the whole package loads in
under 3 ms because it stands on C modules alone. Messages are plain dicts, described by tables::

    from podway.netlink import NetlinkSocket, create_link, dump_routes, replace_route

    with NetlinkSocket() as netlink:                            # or NetlinkSocket(netns_fd=fd)
        netlink.request(create_link({
            "ifname": "podway.1", "mtu": 1450, "address": "0a:58:0a:f4:01:00",
            "linkinfo": {"kind": "vxlan", "data": {
                "id": 1, "port": 8472, "learning": 0, "local": pack_address("192.0.2.1"),
            }},
        }))
        link = netlink.request(get_link({"ifname": "podway.1"}))  # a LinkMessage
        results = netlink.batch([                                 # None or NetlinkError for each
            replace_route({
                "family": AF_INET, "dst": pack_address("10.244.1.0"), "dst_len": 24,
                "gateway": pack_address("10.244.1.0"), "oif": link["index"],
                "flags": RTNH_F_ONLINK, "protocol": 112,
            }),
        ])
        ours = netlink.dump(dump_routes(AF_INET, protocol=112))   # list of RouteMessage

    with EventSocket([RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE]) as events:
        for event in events.drain():                              # events.fileno() for the loop
            if event is OVERRUN: ...                              # resync
            elif event.type == RTM_DELROUTE: event.fields["dst"]

Conventions of all messages: IP addresses are packed bytes (4 or 16; `pack_address`,
`format_address`), link-layer addresses are lower-case colon text, devices are indexes, everything
else has the kernel's own name, unit and number (`podway.netlink.constants`). A field left out is
not sent; a field that the kernel did not send is not in the dict. Names that no table knows are
refused (`EncodeError`), attributes that no table knows are skipped.

Types: `LinkMessage`, `AddressMessage`, `RouteMessage`, `NeighbourMessage`, `RuleMessage`,
`NetconfMessage`, `TrafficMessage` and `NftMessage` are TypedDicts for the type checker alone;
import them under ``if TYPE_CHECKING:`` from the module that describes them (`link_messages` and
`route_messages` for the first and the third).

Errors: see `podway.netlink.errors`. Namespaces: see `podway.netlink.netns`.
"""

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.addresses import (
        create_address,
        delete_address,
        dump_addresses,
        replace_address,
    )
    from podway.netlink.errors import (
        DecodeError,
        EncodeError,
        NamespaceLostError,
        NetlinkError,
        NetnsError,
    )
    from podway.netlink.events import OVERRUN, Event, EventSocket
    from podway.netlink.links import (
        change_bridge_port,
        change_link,
        create_link,
        delete_link,
        dump_bridge_ports,
        dump_links,
        get_link,
    )
    from podway.netlink.messages import Request
    from podway.netlink.neighbours import (
        append_fdb,
        create_fdb,
        create_neighbour,
        delete_fdb,
        delete_neighbour,
        dump_fdb,
        dump_neighbours,
        replace_fdb,
        replace_neighbour,
    )
    from podway.netlink.netconf import dump_netconf, get_netconf
    from podway.netlink.netns import (
        create_named_netns,
        current_identity,
        delete_named_netns,
        entered,
        identity,
        list_named_netns,
        open_current_netns,
        open_named_netns,
        open_netns,
        open_netns_of_pid,
    )
    from podway.netlink.routes import (
        append_route,
        create_route,
        delete_route,
        dump_routes,
        get_route,
        replace_route,
    )
    from podway.netlink.rules import create_rule, delete_rule, dump_rules
    from podway.netlink.socket import NetlinkSocket
    from podway.netlink.text import family_of, format_address, format_prefix, pack_address
    from podway.netlink.traffic_control import (
        create_class,
        create_qdisc,
        delete_class,
        delete_qdisc,
        dump_classes,
        dump_qdiscs,
        get_qdisc,
        replace_qdisc,
    )
    from podway.netlink.traffic_filters import create_filter, delete_filter, dump_filters

# Where each public name lives. Loaded on first use: a plugin pays for what it touches.
_HOMES = {
    "socket": "NetlinkSocket",
    "events": "Event EventSocket OVERRUN",
    "errors": "DecodeError EncodeError NamespaceLostError NetlinkError NetnsError",
    "messages": "Request",
    "links": "change_bridge_port change_link create_link delete_link dump_bridge_ports dump_links"
    " get_link",
    "addresses": "create_address delete_address dump_addresses replace_address",
    "routes": "append_route create_route delete_route dump_routes get_route replace_route",
    "neighbours": "append_fdb create_fdb create_neighbour delete_fdb delete_neighbour dump_fdb"
    " dump_neighbours replace_fdb replace_neighbour",
    "rules": "create_rule delete_rule dump_rules",
    "netconf": "dump_netconf get_netconf",
    "netns": "create_named_netns current_identity delete_named_netns entered identity"
    " list_named_netns open_current_netns open_named_netns open_netns open_netns_of_pid",
    "traffic_control": "create_class create_qdisc delete_class delete_qdisc dump_classes"
    " dump_qdiscs get_qdisc replace_qdisc",
    "traffic_filters": "create_filter delete_filter dump_filters",
    "text": "family_of format_address format_prefix pack_address",
}

__all__ = [
    "OVERRUN",
    "DecodeError",
    "EncodeError",
    "Event",
    "EventSocket",
    "NamespaceLostError",
    "NetlinkError",
    "NetlinkSocket",
    "NetnsError",
    "Request",
    "append_fdb",
    "append_route",
    "change_bridge_port",
    "change_link",
    "create_address",
    "create_class",
    "create_fdb",
    "create_filter",
    "create_link",
    "create_named_netns",
    "create_neighbour",
    "create_qdisc",
    "create_route",
    "create_rule",
    "current_identity",
    "delete_address",
    "delete_class",
    "delete_fdb",
    "delete_filter",
    "delete_link",
    "delete_named_netns",
    "delete_neighbour",
    "delete_qdisc",
    "delete_route",
    "delete_rule",
    "dump_addresses",
    "dump_bridge_ports",
    "dump_classes",
    "dump_fdb",
    "dump_filters",
    "dump_links",
    "dump_neighbours",
    "dump_netconf",
    "dump_qdiscs",
    "dump_routes",
    "dump_rules",
    "entered",
    "family_of",
    "format_address",
    "format_prefix",
    "get_link",
    "get_netconf",
    "get_qdisc",
    "get_route",
    "identity",
    "list_named_netns",
    "open_current_netns",
    "open_named_netns",
    "open_netns",
    "open_netns_of_pid",
    "pack_address",
    "replace_address",
    "replace_fdb",
    "replace_neighbour",
    "replace_qdisc",
    "replace_route",
]


def __getattr__(name: str) -> object:
    """Load *name* from its module (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names.split():
            full_name = f"{__name__}.{home}"
            __import__(full_name)
            globals()[name] = value = getattr(modules[full_name], name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
