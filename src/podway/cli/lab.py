"""``podway lab``: its arguments. What they do is in `lab_actions`, loaded once one is chosen."""

import argparse
import importlib
import os
from typing import cast

from podway.cli.arguments import Group, Run, add_groups, add_leaf

DEFAULT_NODES = 3
# As `podway.model.backends.BACKEND_NAMES`, which is not loaded for a help text.
LAB_BACKENDS = ("vxlan", "host-gw", "udp", "ipip", "wireguard", "extension", "alloc")
EPILOG = """\
A lab is a whole cluster on this machine: every node is a network namespace in
which the production agent runs, pods are namespaces too, and the CNI plugin
connects them. No Docker, no images; needs root. 'down' leaves nothing behind.

  podway lab up --nodes 3 --backend vxlan
  podway lab pod add --count 6
  podway lab ping
  podway lab exec p1 -- ip addr
  podway lab exec n1 -- podway status
  podway lab fault kill-hub
  podway lab down
"""
PING_EPILOG = """\
Exit code 1 when any ping is not answered. Packets are never fragmented.
What a fault costs, seen from another terminal (Ctrl-C ends it early):

  podway lab ping --for 60
  podway lab fault kill-agent n1
"""
EXEC_EPILOG = """\
The exit code is the command's; 127 if there is no such program, 126 if it
cannot be run. On a node, podway's own commands ask its agent and its store:

  podway lab exec p1 -- ip route
  podway lab exec n1 -- podway status
  podway lab exec n1 -- podway node list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe ``podway lab`` and all of its commands."""
    parser.epilog = EPILOG
    _add_name(parser, os.environ.get("PODWAY_LAB") or "lab")
    group = add_groups(parser)
    _add_up(group)
    _add_down(group)
    _add_leaf(group, "list", action("list_labs"), "list the labs on this machine")
    _add_leaf(group, "status", action("status"), "show how the nodes are doing")
    _add_ping(group)
    _add_exec(group)
    _add_iperf(group)
    _add_pod(group)
    _add_node(group)
    _add_fault(group)
    _add_demo(group)


def action(name: str, home: str = "podway.cli.lab_actions") -> Run:
    """Return a function that loads the module *home* when it is called, and calls *name* in it.

    All of it is root's: namespaces, and the files that say what there is. Whatever ends a command
    lets it clear away first.
    """

    def call(args: argparse.Namespace) -> int:
        from podway.lab.interrupts import interruptible  # noqa: PLC0415  (not for a help text)
        from podway.lab.labs import check_root  # noqa: PLC0415

        check_root()
        module = importlib.import_module(home)
        with interruptible():
            return cast("int", getattr(module, name)(args))

    return call


def _add_leaf(
    group: Group, name: str, run: Run, summary: str, *, epilog: str = ""
) -> argparse.ArgumentParser:
    """Add a command that also takes ``--name`` after itself, where many people look for it."""
    leaf = add_leaf(group, name, run, summary, epilog=epilog)
    # Without a default of its own it leaves alone what stood before the command.
    _add_name(leaf, argparse.SUPPRESS)
    return leaf


def _add_name(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--name",
        dest="lab",
        metavar="NAME",
        default=default,
        help="which lab; several stand side by side (default: $PODWAY_LAB, else 'lab')",
    )


def _add_up(group: Group) -> None:
    leaf = _add_leaf(group, "up", action("up"), "make a lab: its nodes, agents and hub")
    leaf.add_argument(
        "--nodes",
        type=int,
        default=DEFAULT_NODES,
        metavar="N",
        help="how many nodes, 1 to 250 (default: %(default)s)",
    )
    _add_kind(leaf)


def _add_kind(leaf: argparse.ArgumentParser) -> None:
    """Add what may differ from lab to lab."""
    leaf.add_argument(
        "--backend",
        choices=LAB_BACKENDS,
        default="vxlan",
        metavar="BACKEND",
        help=f"how packets reach other nodes: {', '.join(LAB_BACKENDS)} (default: %(default)s)",
    )
    leaf.add_argument(
        "--attach",
        choices=("bridge", "routed"),
        default="bridge",
        help="how pods meet their node: on a bridge, or each with a route of its own",
    )
    family = leaf.add_mutually_exclusive_group()
    family.add_argument("--ipv6", action="store_true", help="IPv6 only, nodes and pods")
    family.add_argument("--dual", action="store_true", help="IPv4 and IPv6, nodes and pods")
    leaf.add_argument(
        "--routed-underlay",
        action="store_true",
        help="every node in a subnet of its own, with a router between them",
    )
    leaf.add_argument(
        "--mtu", type=int, default=1500, metavar="BYTES", help="MTU of the underlay (1500)"
    )

    leaf.add_argument(
        "--store",
        choices=("hub", "etcd", "kubernetes"),
        default="hub",
        help="what the nodes share: a hub (default), an etcd, or a Kubernetes API server",
    )
    leaf.add_argument(
        "--kube-apiserver",
        default="",
        metavar="PATH",
        help="the program, for --store kubernetes (default: $PODWAY_KUBE_APISERVER, else in PATH)",
    )


def _add_down(group: Group) -> None:
    leaf = _add_leaf(group, "down", action("down"), "remove a lab: processes, namespaces, files")
    leaf.add_argument("--all", action="store_true", help="remove every lab on this machine")


def _add_ping(group: Group) -> None:
    leaf = _add_leaf(
        group,
        "ping",
        action("ping", "podway.cli.lab_ping"),
        "every pod pings every pod, or those named each other",
        epilog=PING_EPILOG,
    )
    leaf.add_argument("members", metavar="POD", nargs="*", help="these alone (default: all)")
    leaf.add_argument("--nodes", action="store_true", help="the nodes, over the bare underlay")
    leaf.add_argument(
        "--for",
        dest="seconds",
        type=float,
        metavar="SECONDS",
        help="without a pause for so long, up to 100 times a second each way; tell what was lost",
    )
    leaf.add_argument(
        "--size", type=int, default=56, metavar="BYTES", help="payload of each ping (56)"
    )
    leaf.add_argument(
        "--timeout", type=float, default=2.0, metavar="SECONDS", help="wait for replies (2)"
    )


def _add_exec(group: Group) -> None:
    leaf: argparse.ArgumentParser = group.add_parser(
        "exec",
        help="run a command inside of a pod or node",
        usage="podway lab [--name NAME] exec POD|NODE -- COMMAND [ARGUMENT ...]",
        description="Run a command in the network of a pod, of a node, of the hub or the fabric.",
        epilog=EXEC_EPILOG,
    )
    leaf.set_defaults(run=action("execute", "podway.cli.lab_exec"), parser=leaf)
    leaf.add_argument("member", metavar="POD|NODE", help="where: p1, n1, hub, fabric")
    leaf.add_argument("words", metavar="-- COMMAND", nargs=argparse.REMAINDER, help="what to run")


def _add_iperf(group: Group) -> None:
    leaf = _add_leaf(
        group,
        "iperf",
        action("iperf"),
        "measure the throughput between two pods",
        epilog="Node names measure the bare underlay:  podway lab iperf n1 n2",
    )
    leaf.add_argument("source", metavar="FROM", help="pod or node that sends")
    leaf.add_argument("target", metavar="TO", help="pod or node that receives")
    leaf.add_argument("--streams", type=int, default=1, metavar="N", help="at the same time (1)")
    leaf.add_argument("--seconds", type=int, default=2, metavar="S", help="how long (2)")
    leaf.add_argument("--udp", action="store_true", help="UDP instead of TCP")


def _add_pod(group: Group) -> None:
    pods = add_groups(_add_parent(group, "pod", "add, remove, check or list pods"))
    add = add_leaf(pods, "add", action("pod_add"), "add pods, spread over the nodes")
    add.add_argument("--node", metavar="NODE", help="on this node (default: the emptiest)")
    add.add_argument("--name", dest="pod", metavar="POD", help="name of the pod (default: p1 ...)")
    add.add_argument("--count", type=int, default=1, metavar="N", help="how many (1)")
    add.add_argument(
        "--network",
        default="podway",
        metavar="MODE",
        help="podway: the cluster's network (default); or as in Docker: bridge, host, none, "
        "container:POD",
    )
    add.add_argument(
        "--publish",
        action="append",
        default=[],
        metavar="HOSTPORT:PODPORT[/udp]",
        help="lead a port of the node to the pod (with --network bridge; may be repeated)",
    )
    remove = _add_leaf(pods, "rm", action("pod_remove"), "remove pods")
    remove.add_argument("pods", metavar="POD", nargs="+", help="names of pods")
    check = _add_leaf(pods, "check", action("pod_check"), "have the CNI plugin check pods")
    check.add_argument("pods", metavar="POD", nargs="*", help="names of pods (default: all)")
    _add_leaf(pods, "list", action("pod_list"), "list the pods and their addresses")


def _add_node(group: Group) -> None:
    nodes = add_groups(_add_parent(group, "node", "add or remove nodes"))
    _add_leaf(nodes, "add", action("node_add"), "add a node")
    remove = _add_leaf(nodes, "rm", action("node_remove"), "remove a node and its pods")
    remove.add_argument("node", metavar="NODE", help="name of the node")


def _add_fault(group: Group) -> None:
    faults = add_groups(_add_parent(group, "fault", "break something, and see podway mend it"))
    _add_fault_on_node(faults, "link-down", "set a node's uplink down")
    _add_fault_on_node(faults, "link-up", "set it up again")
    _add_fault_on_node(faults, "pull-cable", "take the carrier away from a node's uplink")
    _add_fault_on_node(faults, "kill-agent", "end a node's agent without warning")
    _add_fault_on_node(faults, "start-agent", "start it again")
    _add_leaf(faults, "kill-hub", _fault("kill_hub"), "end the hub without warning")
    _add_leaf(faults, "start-hub", _fault("start_hub"), "start it again")
    cut = _add_leaf(
        faults, "partition", _fault("partition"), "cut nodes off from all others and the hub"
    )
    cut.add_argument("nodes", metavar="NODE", nargs="+", help="they still reach each other")
    route = _add_fault_on_node(faults, "delete-route", "delete podway's routes on a node")
    route.add_argument("dst", metavar="PREFIX", nargs="?", help="this one (default: all)")
    _add_fault_on_node(faults, "flush", "delete podway's routes, tunnels and firewall on a node")
    _add_leaf(faults, "heal", _fault("heal"), "undo cuts and pulled cables, start what was killed")


def _fault(name: str) -> Run:
    return action(name, "podway.cli.fault_actions")


def _add_fault_on_node(faults: Group, name: str, summary: str) -> argparse.ArgumentParser:
    leaf = _add_leaf(faults, name, _fault(name.replace("-", "_")), summary)
    leaf.add_argument("node", metavar="NODE", help="name of the node")
    return leaf


def _add_demo(group: Group) -> None:
    leaf = _add_leaf(
        group, "demo", action("demo"), "show it all: make a lab, ping, measure, remove it"
    )
    _add_kind(leaf)
    leaf.add_argument("--seconds", type=int, default=2, metavar="S", help="per measurement (2)")


def _add_parent(group: Group, name: str, summary: str) -> argparse.ArgumentParser:
    parent: argparse.ArgumentParser = group.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    return parent
