"""A lab comes up, gains and loses nodes: the plan of `topology`, carried out.

Up is fast because things happen side by side: the hub starts while the nodes are being wired, all
agents start at once, and nothing sleeps. What fails half-way is cleared away by `teardown`, which
needs no memory of how far it had come.
"""

import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from podway.lab.errors import LabError
from podway.lab.interrupts import uninterrupted
from podway.lab.kernels import check_kernel
from podway.lab.names import FABRIC, lab_dir, namespace_of, node_name
from podway.lab.namespaces import (
    create_namespace,
    delete_namespace,
    inode_of,
    make,
)
from podway.lab.processes import ProcessId, is_running, kill_all, processes_in, read_pid_file
from podway.lab.progress import Report
from podway.lab.readiness import start_ready
from podway.lab.runtime import check_node, remove_pods
from podway.lab.specs import MAX_NODES, LabSpec
from podway.lab.state import create_lab_dir, existing, read_pods, write_spec, write_whole
from podway.lab.statuses import check_linked, wait_linked
from podway.lab.store_members import (
    add_members,
    find_programs,
    prepare_store,
    prepare_store_files,
    remove_member,
)
from podway.lab.teardown import all_labs, take_down
from podway.lab.topology import Plan, plan_agent, plan_lab
from podway.lab.underlay import plan_cable, underlay_neighbours
from podway.model.kernel import Sysctl
from podway.plugins.install import install

# Per namespace since Linux 5.3; there where the kernel has br_netfilter.
BRIDGE_SYSCTLS = Path("/proc/sys/net/bridge")
NEIGHBOUR_LIMIT = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")


def bring_up(spec: LabSpec, report: Report) -> LabSpec:
    """Make the lab *spec*: when this returns, every node is ready and knows every other one.

    Returns:
        *spec* with the programs that were found for it.

    Raises:
        ConfigError: no lab can be like that; nothing was made.
        LabExists: there is such a lab already, which is left alone.
        LabError: something did not work; everything that had been made is gone again.
    """
    plan_lab(spec)
    check_root()
    spec = find_programs(spec, os.environ)
    if spec.name in all_labs():
        raise existing(spec.name)
    create_lab_dir(spec.name)
    try:
        _build(spec, plan_lab(spec), report)
    except BaseException:
        take_down(spec.name, report)
        raise
    return spec


def check_root() -> None:
    """Refuse to go on without root. Raises `LabError`."""
    if os.geteuid() != 0:
        raise LabError("a lab is made of network namespaces, which only root can make: use sudo")


def warning_of(spec: LabSpec) -> str:
    """Return what this machine is too small for in a lab like *spec*, "" for nothing.

    All namespaces share one neighbour table per family, whose bound only the machine's own
    namespace can change (net/core/neighbour.c, neigh_alloc). The entries of a flat underlay grow
    with the square of the nodes, and beyond the bound nodes lose each other at random.
    """
    needed = underlay_neighbours(spec)
    limit = int(NEIGHBOUR_LIMIT.read_text(encoding="ascii"))
    if needed <= limit:
        return ""
    return (
        f"{len(spec.nodes)} nodes on a flat underlay need {needed} neighbour entries, and this "
        f"machine holds {limit}: use --routed-underlay, or raise "
        "net.ipv4.neigh.default.gc_thresh3 and net.ipv6.neigh.default.gc_thresh3"
    )


def _build(spec: LabSpec, plan: Plan, report: Report) -> None:
    directory = lab_dir(spec.name)
    write_whole(directory / "net-conf.json", json.dumps(plan.network, indent=2).encode())
    write_spec(spec)
    prepare_store_files(spec)
    for namespace in plan.namespaces:
        create_namespace(namespace)
    check_kernel(spec, plan.namespaces[0])
    make(namespace_of(spec.name, FABRIC), (*_switch_settings(), *plan.fabric))
    report(FABRIC, f"{len(plan.namespaces)} namespaces made and cabled")
    with ThreadPoolExecutor(1) as aside:
        with uninterrupted():
            plugin = aside.submit(_install_plugin, spec)
        for process in plan.stores:
            start_ready([process], report)
        prepare_store(spec)
        add_members(spec, spec.nodes)
        start_ready(plan.agents, report)
        plugin.result()
    check_linked(spec, spec.nodes, wait_linked(spec))
    report("lab", "every node knows every other one")


def _switch_settings() -> tuple[Sysctl, ...]:
    """Return what keeps netfilter away from the fabric's frames: a switch reads no IP packets."""
    names = ("iptables", "ip6tables", "arptables")
    paths = [BRIDGE_SYSCTLS / f"bridge-nf-call-{name}" for name in names]
    return tuple(Sysctl(f"bridge/{path.name}", "0") for path in paths if path.exists())


def _install_plugin(spec: LabSpec) -> None:
    install(lab_dir(spec.name) / "cni", plugins=("podway",), create_directories=True)


class Added(NamedTuple):
    """A node that has come.

    Attributes:
        spec: of the lab, now.
        name: of the node.
        unaware: of the nodes that have not heard of it, by name, why: their agents do not run, say.
    """

    spec: LabSpec
    name: str
    unaware: Mapping[str, str]


def add_node(spec: LabSpec, report: Report) -> Added:
    """Add a node to the lab, and let all those know that can.

    Raises:
        LabError: the lab has as many nodes as it can have, or the node does not come up; it is gone
            again.
        StoreError: the store does not answer, likewise.
    """
    free = (number for number in range(1, MAX_NODES + 1) if number not in spec.nodes)
    number = next(free, None)
    if number is None:
        raise LabError(f"lab {spec.name!r} has {MAX_NODES} nodes, and no lab has more")
    grown = msgspec.structs.replace(spec, nodes=tuple(sorted((*spec.nodes, number))))
    name = node_name(number)
    with ExitStack() as undo:
        add_members(spec, [number])
        undo.callback(remove_member, spec, name)
        create_namespace(namespace_of(spec.name, name))
        undo.callback(_end_node, spec, name)
        make(namespace_of(spec.name, FABRIC), plan_cable(grown, number))
        start_ready([plan_agent(grown, number)], report)
        late = wait_linked(grown)
        check_linked(grown, [number], late)
        write_spec(grown)
        undo.pop_all()
    return Added(grown, name, late)


def remove_node(spec: LabSpec, name: str) -> LabSpec:
    """Remove the node *name*, its pods and its lease; return the new spec.

    Raises:
        NoSuchLab: there is no such node.
        LabError: it is the last one.
        PluginFailed: a pod could not be removed; the node is still there.
        StoreError: the store does not answer; the node is still there, without pods.
    """
    number = check_node(spec, name)
    if len(spec.nodes) == 1:
        raise LabError(f"{name} is the last node; 'podway lab down' removes the whole lab")
    remove_pods(spec, [pod for pod in read_pods(spec.name) if pod.node == name])
    # An agent that lives would claim its lease anew.
    kill_all([each for each in [_recorded_agent(spec, name)] if each is not None])
    remove_member(spec, name)
    shrunk = msgspec.structs.replace(
        spec, nodes=tuple(each for each in spec.nodes if each != number)
    )
    write_spec(shrunk)
    _end_node(spec, name)
    return shrunk


def _recorded_agent(spec: LabSpec, name: str) -> ProcessId | None:
    recorded = read_pid_file(lab_dir(spec.name) / name / "agent.pid")
    return recorded if is_running(recorded) else None


def _end_node(spec: LabSpec, name: str) -> None:
    """End everything in the node's namespace, then the namespace."""
    namespace = namespace_of(spec.name, name)
    kill_all(processes_in({inode_of(namespace)}))
    delete_namespace(namespace)
    shutil.rmtree(lab_dir(spec.name) / name, ignore_errors=True)
