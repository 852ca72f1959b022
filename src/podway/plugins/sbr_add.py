"""ADD of ``sbr``: gives each address of an interface its own routes.

In: a call with prevResult. Out: the same. One call at a time for each container: tables are chosen
by what is in use.
"""

from podway.cni.errors import IO_FAILURE
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import required_link
from podway.plugins.previous import required_previous_result
from podway.plugins.routing_tables import lock_namespace, tables_in_use
from podway.plugins.sbr_conf import parse_conf, required_sources
from podway.plugins.sbr_plans import Found, compute_plan
from podway.plugins.sbr_routes import main_routes
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.results import Result
    from podway.plugins.skeleton import Call


def add(call: "Call") -> "Result":
    """Route by source; return prevResult.

    Raises:
        CniError: INVALID_CONFIG, prevResult has no address; or there is no such interface.
        NetlinkError: the kernel refuses; everything is as before.
    """
    conf, ifname = parse_conf(call.config), call.request.ifname
    result = required_previous_result(call.request)
    sources = required_sources(result, ifname)
    lock_namespace(call.namespace)
    with NetlinkSocket(netns_fd=call.namespace) as inside, Undo() as undo:
        link = required_link(inside, ifname, call.request.netns, IO_FAILURE)
        found = Found(
            index=link["index"],
            sources=sources,
            routes=tuple(main_routes(inside, link["index"])),
            used=frozenset(tables_in_use(inside)),
        )
        plan = compute_plan(conf, found)
        for step in plan.steps:
            inside.request(step.forward)
            undo.push(inside.request, step.backward)
    return result
