"""Break a lab on purpose, and mend it: what operations teams meet at night, on one's own machine.

Each fault is one thing that really happens: a cable is pulled, a program dies, a network is
partitioned, somebody flushes routes. `heal` undoes what podway cannot undo by itself (a cut cable,
a dead program); routes, devices and rules are left to the agent: that it mends them is the point.
"""

import signal
from collections.abc import Callable, Collection
from ipaddress import ip_network

from podway.diff.operations import Operation, Verb
from podway.errors import ArgumentError
from podway.lab.errors import LabError
from podway.lab.names import FABRIC, namespace_of, node_name
from podway.lab.namespaces import carry_out, kernel_of, make, set_link_up, wait_operational
from podway.lab.processes import is_running, kill_all, read_pid_file
from podway.lab.programs import Process
from podway.lab.progress import Report, silent
from podway.lab.readiness import start_ready
from podway.lab.runtime import check_node
from podway.lab.specs import LabSpec
from podway.lab.stores import plan_stores
from podway.lab.topology import plan_agent
from podway.lab.underlay import UPLINK, plan_cable, plan_cut, plan_uplink
from podway.model.addresses import IPNetwork
from podway.model.instances import TABLE_NAME
from podway.model.kernel import (
    Address,
    FdbEntry,
    Ipip,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    Route,
    Rule,
    Tun,
    Vxlan,
    Wireguard,
)

# For what an agent does before it ends.
END_TIMEOUT_S = 20.0
FIREWALL = NftTable("inet", TABLE_NAME, "").key


def link_down(spec: LabSpec, node: str) -> None:
    """Set the node's uplink down: the kernel drops its routes, and all that stand on it."""
    check_node(spec, node)
    set_link_up(namespace_of(spec.name, node), UPLINK, up=False)


def pull_cable(spec: LabSpec, node: str) -> None:
    """Take the carrier away from the node's uplink, as a pulled cable does; it stays up."""
    check_node(spec, node)
    set_link_up(namespace_of(spec.name, FABRIC), node, up=False)


def link_up(spec: LabSpec, node: str) -> None:
    """Undo `link_down` and `pull_cable`, with the addresses and routes that went with the link."""
    number = check_node(spec, node)
    namespace, fabric = namespace_of(spec.name, node), namespace_of(spec.name, FABRIC)
    set_link_up(fabric, node, up=True)
    set_link_up(namespace, UPLINK, up=True)
    wait_operational(fabric, node)
    wait_operational(namespace, UPLINK)
    cable = plan_cable(spec, number)
    make(fabric, [item for item in cable if isinstance(item, Address)])
    make(namespace, plan_uplink(spec, number))


def kill_agent(spec: LabSpec, node: str, number: signal.Signals = signal.SIGKILL) -> None:
    """End the node's agent: without warning, or by a signal that it can answer (SIGTERM).

    Raises `LabError` when it does not run, or does not end.
    """
    _kill(plan_agent(spec, check_node(spec, node)), number)


def start_agent(spec: LabSpec, node: str, report: Report = silent) -> None:
    """Start the node's agent. Raises `LabError` when it runs already, or does not come up."""
    _start(plan_agent(spec, check_node(spec, node)), report)


def kill_hub(spec: LabSpec) -> None:
    """End the hub, or what is in its place, without warning (SIGKILL).

    Raises `LabError` when it does not run.
    """
    for process in plan_stores(spec):
        _kill(process)


def start_hub(spec: LabSpec, report: Report = silent) -> None:
    """Start the hub, or what is in its place.

    Raises `LabError` when it runs already, or does not come up.
    """
    for process in plan_stores(spec):
        _start(process, report)


def partition(spec: LabSpec, nodes: Collection[str]) -> None:
    """Cut *nodes* off from all other nodes and from the hub; among each other they still talk.

    Replaces an earlier partition.
    """
    numbers = frozenset(check_node(spec, node) for node in nodes)
    table = plan_cut(spec, numbers)
    with kernel_of(namespace_of(spec.name, FABRIC)) as kernel:
        carry_out(kernel, [Operation(Verb.DELETE, table.key)])
        carry_out(kernel, [Operation(Verb.CREATE, table.key, desired=table)])


def heal(spec: LabSpec, report: Report = silent) -> list[str]:
    """Undo every fault that podway cannot undo by itself; return what was done."""
    done = []
    table = plan_cut(spec, frozenset(spec.nodes))
    with kernel_of(namespace_of(spec.name, FABRIC)) as kernel:
        if table.key in kernel.read([table.key]):
            carry_out(kernel, [Operation(Verb.DELETE, table.key)])
            done.append("partition removed")
    for number in spec.nodes:
        link_up(spec, node_name(number))
    stopped = [each for each in _processes(spec) if not _runs(each)]
    agents = [each for each in stopped if each.role == "agent"]
    for group in (*([each] for each in stopped if each not in agents), agents):
        start_ready(group, report)
    return [*done, *(f"{each.title} started" for each in stopped)]


def delete_route(spec: LabSpec, node: str, dst: str | None = None) -> list[KernelObject]:
    """Delete podway's route to the prefix *dst* on *node*, or all of podway's routes.

    Returns:
        What was deleted.

    Raises:
        ConfigError: *dst* is no prefix.
        LabError: there is no such route of podway's.
    """
    wanted = None if dst is None else _parse_prefix(dst)
    return _delete(
        spec,
        node,
        lambda item: isinstance(item, Route) and wanted in (None, item.dst),
        f"route to {dst}" if dst else "route",
    )


def flush(spec: LabSpec, node: str) -> list[KernelObject]:
    """Delete all that podway has in the kernel of *node* but what leads into the pods.

    Routes, rules, neighbours, FDB entries, tunnel devices and the nftables table; pods' own
    interfaces stay, since what is inside a pod is made with it and only once.
    """
    return _delete(spec, node, _is_flushed, "object")


def _is_flushed(item: KernelObject) -> bool:
    if isinstance(item, Link):
        return isinstance(item.kind, Vxlan | Tun | Ipip | Wireguard)
    return isinstance(item, Route | Rule | Neighbour | FdbEntry | NftTable)


def _delete(
    spec: LabSpec, node: str, chosen: Callable[[KernelObject], bool], what: str
) -> list[KernelObject]:
    check_node(spec, node)
    with kernel_of(namespace_of(spec.name, node)) as kernel:
        doomed = [item for item in kernel.read([FIREWALL]).values() if chosen(item)]
        if not doomed:
            raise LabError(f"podway has no {what} on {node}")
        # Devices last: what stands on a device would be gone before its own turn comes.
        doomed.sort(key=lambda item: isinstance(item, Link | Address))
        carry_out(kernel, [Operation(Verb.DELETE, item.key, observed=item) for item in doomed])
    return doomed


def _parse_prefix(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ArgumentError("PREFIX", text, "must be a prefix such as 10.244.2.0/24") from error


def _processes(spec: LabSpec) -> list[Process]:
    return [*plan_stores(spec), *(plan_agent(spec, number) for number in spec.nodes)]


def _runs(process: Process) -> bool:
    return is_running(read_pid_file(process.pid_file))


def _kill(process: Process, number: signal.Signals = signal.SIGKILL) -> None:
    identity = read_pid_file(process.pid_file)
    if identity is None or not kill_all([identity], number, timeout_s=END_TIMEOUT_S):
        what = f"does not end after {number.name}" if is_running(identity) else "does not run"
        raise LabError(f"the {process.title} {what}")


def _start(process: Process, report: Report) -> None:
    if _runs(process):
        raise LabError(f"the {process.title} runs already")
    start_ready([process], report)
