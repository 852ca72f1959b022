"""Routes by source: which rules and routes there are to be, and in which order they come about.

In: addresses, the routes of their interface, the tables in use. Out: steps, each with what undoes
it. Pure. For an interface with 10.1.0.5/24, 10.1.0.1 as gateway and a route to 10.9.0.0/16::

    before  main: 10.1.0.0/24 dev eth1 src 10.1.0.5
                  10.9.0.0/16 via 10.1.0.1 dev eth1

    after   rule: from 10.1.0.5 lookup 100
            100:  the same two routes, and default via 10.1.0.1 dev eth1

Each address has the first free table from 100 on. A route belongs to the addresses whose subnet its
gateway or source is in; one that belongs to none in particular is in the tables of all of its
family. Routes to link-local addresses stay in the main table, too: senders name the interface, and
without them nobody on the link would be reached by such an address.
"""

from podway.cni.values import Value
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_COMPAT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    RTPROT_BOOT,
)
from podway.netlink.routes import append_route, delete_route, replace_route
from podway.netlink.rules import create_rule, delete_rule
from podway.netlink.text import family_of
from podway.plugins.routing_tables import kept_fields, next_hops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from podway.netlink.messages import Request
    from podway.netlink.route_messages import RouteMessage
    from podway.netlink.rules import RuleMessage
    from podway.plugins.sbr_conf import SbrConf, Source

FIRST_TABLE: "Final" = 100
_LINK_LOCAL: "Final" = bytes.fromhex("fe80")
# The metric of an IPv6 route that is given none.
_IPV6_METRIC: "Final" = 1024


class Found(Value):
    """What there is before.

    Attributes:
        index: of the interface.
        sources: its addresses.
        routes: of the main table by the interface.
        used: tables in which somebody has routes, or to which rules lead.
    """

    index: int
    sources: "tuple[Source, ...]"
    routes: "tuple[RouteMessage, ...]"
    used: frozenset[int]


class Step(Value):
    """A change, and what undoes it."""

    forward: "Request[Any]"
    backward: "Request[Any]"


class SbrPlan(Value):
    """What is to be done, in this order.

    Attributes:
        steps: the changes.
        moved: routes as they are in tables of their own then.
    """

    steps: tuple[Step, ...]
    moved: "tuple[RouteMessage, ...]" = ()


def free_tables(used: frozenset[int]) -> "Iterator[int]":
    """Yield the tables from 100 on that nobody uses."""
    table = FIRST_TABLE
    while True:
        if table not in used and not RT_TABLE_COMPAT <= table <= RT_TABLE_LOCAL:
            yield table
        table += 1


def compute_plan(conf: "SbrConf", found: Found) -> SbrPlan:
    """Return how to route by source."""
    if conf.table is not None:
        table = conf.table
        return SbrPlan(steps=tuple(_rule_step(compute_rule(each, table)) for each in found.sources))
    tables = free_tables(found.used)
    rules: list[Step] = []
    moved: list[RouteMessage] = []
    for source in found.sources:
        table = next(tables)
        rules.append(_rule_step(compute_rule(source, table)))
        moved += compute_table(conf, found, source, table)
    copies = [Step(forward=append_route(each), backward=delete_route(each)) for each in moved]
    return SbrPlan(steps=(*rules, *copies, *_main_steps(conf, found)), moved=tuple(moved))


def compute_rule(source: "Source", table: int) -> "RuleMessage":
    """Return the rule by which what is sent from an address finds its table."""
    return {
        "family": family_of(source.packed),
        "src": source.packed,
        "src_len": len(source.packed) * 8,
        "table": table,
    }


def _rule_step(rule: "RuleMessage") -> Step:
    return Step(forward=create_rule(rule), backward=delete_rule(rule))


def compute_table(
    conf: "SbrConf", found: Found, source: "Source", table: int
) -> "list[RouteMessage]":
    """Return the routes of an address; those that others lead through come first."""
    copies: list[Any] = [
        {**kept_fields(route), "table": table}
        for route in found.routes
        if _belongs(route, source, found.sources)
    ]
    default = compute_default(conf, source, table, found.index)
    if default:
        same = [each for each in copies if _is_same_default(each)]
        if has_static_gateway(conf, source):
            copies = [each for each in copies if each not in same]
        if has_static_gateway(conf, source) or not same:
            copies.append(default)
    return sorted(copies, key=lambda each: bool(next_hops(each)))


def has_static_gateway(conf: "SbrConf", source: "Source") -> bool:
    """Tell whether the configuration has a gateway of the family of *source*."""
    return any(len(each) == len(source.packed) for each in conf.gateways)


def gateway_of(conf: "SbrConf", source: "Source") -> bytes | None:
    """Return the next hop of the default route of an address, None for no such route."""
    static = [each for each in conf.gateways if len(each) == len(source.packed)]
    return static[0] if static else source.gateway


def compute_default(
    conf: "SbrConf", source: "Source", table: int, index: int
) -> "RouteMessage | None":
    """Return the default route of an address, None without a gateway."""
    gateway = gateway_of(conf, source)
    if gateway is None or len(gateway) != len(source.packed):
        return None
    return {
        "family": family_of(source.packed),
        "dst_len": 0,
        "gateway": gateway,
        "oif": index,
        "table": table,
        "protocol": RTPROT_BOOT,
        "scope": RT_SCOPE_UNIVERSE,
        "type": RTN_UNICAST,
    }


def _is_same_default(route: "RouteMessage | dict[str, Any]") -> bool:
    """Tell whether *route* stands where `compute_default` would."""
    if route.get("dst_len") or route.get("tos"):
        return False
    usual = _IPV6_METRIC if route["family"] == AF_INET6 else 0
    return route.get("priority", usual) == usual


def _belongs(route: "RouteMessage", source: "Source", sources: "tuple[Source, ...]") -> bool:
    """Tell whether a route belongs to *source*, or to none of *sources* in particular."""
    if route["family"] != family_of(source.packed):
        return False
    near = [route.get("prefsrc"), *next_hops(route)]
    if any(source.reaches(each) for each in near):
        return True
    return not any(other.reaches(each) for other in sources for each in near)


def is_link_local(route: "RouteMessage") -> bool:
    """Tell whether a route leads to link-local or multicast addresses of IPv6."""
    dst = route.get("dst", b"")
    return route["family"] == AF_INET6 and (dst[:2] == _LINK_LOCAL or dst[:1] == b"\xff")


def _main_steps(conf: "SbrConf", found: Found) -> list[Step]:
    """Return what happens to the main table."""
    steps: list[Step] = []
    if conf.adds_source_hints:
        steps += [_hint_step(_compute_hint(each, found.index), found) for each in found.sources]
    for route in found.routes:
        # As the reference plugin: with hints IPv4 routes without a gateway stay.
        stays = conf.adds_source_hints and route["scope"] == RT_SCOPE_LINK
        if not stays and not is_link_local(route):
            kept: Any = {**kept_fields(route), "table": RT_TABLE_MAIN}
            steps.append(Step(forward=delete_route(kept), backward=append_route(kept)))
    return steps


def _compute_hint(source: "Source", index: int) -> "RouteMessage":
    """Return the route to a subnet that says from which address to send there."""
    return {
        "family": family_of(source.packed),
        "dst": source.subnet,
        "dst_len": source.bits,
        "oif": index,
        "prefsrc": source.packed,
        "table": RT_TABLE_MAIN,
        "scope": RT_SCOPE_LINK,
        "protocol": RTPROT_BOOT,
    }


def _hint_step(hint: "RouteMessage", found: Found) -> Step:
    """Return the step that writes *hint*, over the IPv4 route to the same subnet if any."""
    for route in found.routes:
        if hint["family"] == AF_INET and _place(route) == _place(hint):
            kept: Any = {**kept_fields(route), "table": RT_TABLE_MAIN}
            return Step(forward=replace_route(hint), backward=replace_route(kept))
    return Step(forward=replace_route(hint), backward=delete_route(hint))


def _place(route: "RouteMessage") -> tuple[bytes, int, int, int]:
    """Return what there can be one IPv4 route of, in a table."""
    tos, priority = route.get("tos", 0), route.get("priority", 0)
    return route.get("dst", b""), route["dst_len"], tos, priority
