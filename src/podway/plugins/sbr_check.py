"""CHECK of ``sbr``: does what is sent from each address go by its own routes?

In: a call. Out: nothing, or what is missing. For each address there must be the rule, and in its
table the default route by its gateway, and all of prevResult's routes in one of the tables. The
main table must have none of the interface's default routes.
"""

from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.routes import create_route
from podway.netlink.rules import create_rule
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import compute_route, required_link
from podway.plugins.previous import required_previous_result
from podway.plugins.routing_tables import next_hops, table_routes
from podway.plugins.sbr_conf import parse_conf, required_sources
from podway.plugins.sbr_plans import compute_rule, gateway_of
from podway.plugins.sbr_routes import main_routes, rules_by_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.results import Result
    from podway.netlink.route_messages import RouteMessage
    from podway.plugins.sbr_conf import SbrConf, Source
    from podway.plugins.skeleton import Call


def check(call: "Call") -> None:
    """See that rules and routes are there.

    Raises:
        CniError: CHECK_FAILED, something is missing.
    """
    conf, ifname = parse_conf(call.config), call.request.ifname
    result = required_previous_result(call.request)
    sources = required_sources(result, ifname)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        index = required_link(inside, ifname, call.request.netns)["index"]
        found: list[RouteMessage] = []
        for source in sources:
            table = _check_rule(inside, conf, source)
            if conf.table is None:
                routes = table_routes(inside, table, index)
                _check_default(conf, source, table, routes)
                found += routes
        if conf.table is None:
            _check_routes(result, found)
            _check_main(main_routes(inside, index), ifname)


def status(call: "Call") -> None:
    """See that the configuration is one that ADD would take.

    Raises:
        CniError: INVALID_CONFIG.
    """
    parse_conf(call.config)


def _check_rule(inside: NetlinkSocket, conf: "SbrConf", source: "Source") -> int:
    """See that there is the rule of an address; return the table to which it leads."""
    rules = rules_by_source(inside, {source.packed}, conf.table)
    if rules:
        return rules[0]["table"]
    wanted = create_rule(compute_rule(source, conf.table or 0)).describe(str)
    raise CniError(CHECK_FAILED, f"{wanted.removeprefix('create ')} is missing")


def _check_default(
    conf: "SbrConf", source: "Source", table: int, routes: "list[RouteMessage]"
) -> None:
    """See that there is a default route where ADD had a gateway, by it if that is configured."""
    gateway = gateway_of(conf, source)
    defaults = [each for each in routes if not each["dst_len"]]
    if gateway is None or len(gateway) != len(source.packed):
        return
    hops = [hop for each in defaults for hop in next_hops(each)]
    if not hops or (gateway in conf.gateways and gateway not in hops):
        raise CniError(
            CHECK_FAILED, f"the default route of table {table} is missing or leads elsewhere"
        )


def _check_routes(result: "Result", found: "list[RouteMessage]") -> None:
    """See that prevResult's routes are in some table of the interface's addresses."""
    places = {(each["family"], each.get("dst"), each["dst_len"]) for each in found}
    families = {each["family"] for each in found}
    for each in result.routes:
        route = compute_route(each)
        place = (route["family"], route.get("dst"), route["dst_len"])
        if route["family"] in families and place not in places:
            wanted = create_route(route).describe(str).removeprefix("create ")
            raise CniError(CHECK_FAILED, f"{wanted} is missing in the tables of the addresses")


def _check_main(routes: "list[RouteMessage]", ifname: str) -> None:
    if any(not route["dst_len"] for route in routes):
        raise CniError(CHECK_FAILED, f"the main table has a default route by {ifname}")
