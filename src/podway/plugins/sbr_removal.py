"""DEL of ``sbr``: the rules of an interface's addresses are gone, and the tables they led to.

In: a call. Out: nothing. A namespace that is gone took everything along. Routes do not return to
the main table: the interface is about to go. Rules of other interfaces stay, even of one with the
same address: the table that they lead to has routes by that interface.
"""

from podway.cni.errors import CniError
from podway.netlink.addresses import dump_addresses
from podway.netlink.routes import delete_route
from podway.netlink.rules import delete_rule
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import find_link
from podway.plugins.previous import previous_result
from podway.plugins.routing_tables import kept_fields, lock_namespace, table_routes
from podway.plugins.sbr_conf import find_sources, parse_conf
from podway.plugins.sbr_routes import rules_by_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podway.netlink.messages import Request
    from podway.netlink.rules import RuleMessage
    from podway.plugins.skeleton import Call


def delete(call: "Call") -> None:
    """Delete rules and tables.

    Raises:
        CniError: INVALID_CONFIG.
        NetlinkError: one of them is still there.
    """
    table = parse_conf(call.config).table
    if call.netns is None:
        return
    lock_namespace(call.netns)
    with NetlinkSocket(netns_fd=call.netns) as inside:
        link = find_link(inside, call.request.ifname)
        index = link["index"] if link else 0
        addresses = _told_addresses(call) | _addresses(inside, index)
        for rule in rules_by_source(inside, addresses, table):
            _delete_rule(inside, rule, index, is_shared=table is not None)


def _delete_rule(
    inside: NetlinkSocket, rule: "RuleMessage", index: int, *, is_shared: bool
) -> None:
    """Delete a rule and the routes in its table, unless they are another interface's.

    Args:
        inside: in the container's namespace.
        rule: as listed.
        index: of the interface; 0 if it is gone.
        is_shared: the table is not the plugin's own, nor are its routes.
    """
    requests: list[Request[Any]] = [delete_rule(rule)]
    if not is_shared:
        routes = table_routes(inside, rule["table"])
        own = table_routes(inside, rule["table"], index) if index else []
        if len(routes) > len(own):
            return
        for route in own:
            kept: Any = {**kept_fields(route), "table": rule["table"]}
            requests.append(delete_route(kept))
    for error in inside.batch(requests):
        if error is not None and not error.is_not_found:
            raise error


def _addresses(inside: NetlinkSocket, index: int) -> set[bytes]:
    """Return the addresses that a device has, none for index 0."""
    found = inside.dump(dump_addresses(index=index)) if index else []
    return {each.get("local", each.get("address", b"")) for each in found}


def _told_addresses(call: "Call") -> set[bytes]:
    """Return the addresses of the interface by prevResult, none without one that can be read."""
    try:
        result = previous_result(call.request)
    except CniError:  # a help where there is one: DEL does without
        return set()
    if result is None:
        return set()
    return {source.packed for source in find_sources(result, call.request.ifname)}
