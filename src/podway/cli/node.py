"""``podway node``: the nodes of the cluster and the subnets that they lease."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from podway.cli.arguments import add_groups, add_leaf
from podway.cli.output import Style, elapsed, print_done, print_json, render_table, style_of
from podway.cli.store_access import add_store, ask_store
from podway.errors import ArgumentError, ConfigError
from podway.model.addresses import IPNetwork
from podway.model.networks import parse_prefix
from podway.store.protocol import AdminStore, NodeStatus, Reservation, StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe ``podway node``'s commands."""
    group = add_groups(parser)
    add_store(add_leaf(group, "list", _list, "list the nodes, their subnets and reservations"))
    remove = add_leaf(
        group,
        "remove",
        _remove,
        "give the subnets of a node that is gone for good to others",
        epilog="A node whose agent still runs comes back, perhaps with other subnets.",
    )
    remove.add_argument("node", metavar="NODE", help="name of the node")
    add_store(remove)
    reserve = add_leaf(group, "reserve", _reserve, "keep subnets for one node")
    reserve.add_argument("node", metavar="NODE", help="name of the node")
    reserve.add_argument(
        "subnets", metavar="SUBNET", nargs="+", help="at most one per family: 10.244.7.0/24"
    )
    add_store(reserve)
    unreserve = add_leaf(group, "unreserve", _unreserve, "keep no subnets for a node any more")
    unreserve.add_argument("node", metavar="NODE", help="name of the node")
    add_store(unreserve)


def _list(args: argparse.Namespace) -> int:
    async def read(store: AdminStore) -> tuple[Sequence[NodeStatus], Sequence[Reservation]]:
        return await store.list_nodes(), await store.list_reservations()

    nodes, reservations = ask_store(args, read)
    if args.json:
        print_json(
            {
                "nodes": [_node_fields(status) for status in nodes],
                "reservations": [
                    {"node": each.name, "subnets": [str(subnet) for subnet in each.subnets]}
                    for each in reservations
                ],
            }
        )
    else:
        print("\n".join(render_nodes(nodes, reservations, style_of(sys.stdout))))
    return 0


def _node_fields(status: NodeStatus) -> dict[str, Any]:
    return {
        "node": status.node.name,
        "backend": status.node.backend,
        "leases": [
            {"subnet": str(lease.subnet), "public_ip": str(lease.public_ip)}
            for lease in status.node.leases
        ],
        "revision": status.revision,
        "ttl_s": status.ttl_s,
        "expires_in_s": status.expires_in_s,
    }


def render_nodes(
    nodes: Sequence[NodeStatus], reservations: Sequence[Reservation], style: Style
) -> list[str]:
    """Return the table of nodes, and the one of reservations where there are any."""
    rows = [
        (
            status.node.name,
            status.node.backend,
            ", ".join(str(lease.subnet) for lease in status.node.leases),
            ", ".join(str(lease.public_ip) for lease in status.node.leases),
            _expiry(status.expires_in_s),
        )
        for status in nodes
    ]
    header = ("NODE", "BACKEND", "SUBNETS", "UNDERLAY", "LEASE ENDS")
    lines = render_table(header, rows, style) if rows else ["No node has a lease."]
    if not reservations:
        return lines
    kept = [(each.name, ", ".join(map(str, each.subnets))) for each in reservations]
    return [*lines, "", *render_table(("RESERVED FOR", "SUBNETS"), kept, style)]


def _expiry(expires_in_s: float | None) -> str:
    return "never" if expires_in_s is None else f"in {elapsed(max(0.0, expires_in_s))}"


def _remove(args: argparse.Namespace) -> int:
    async def release(store: AdminStore) -> bool:
        known = any(status.node.name == args.node for status in await store.list_nodes())
        if known:
            await store.release(args.node)
        return known

    if not ask_store(args, release):
        raise StoreError(f"no node {args.node!r} has a lease ('podway node list' shows who has)")
    return _done(args, f"{args.node} has no lease any more; its subnets are free.")


def _reserve(args: argparse.Namespace) -> int:
    subnets = [_subnet(text) for text in args.subnets]
    ask_store(args, lambda store: store.reserve(args.node, subnets))
    return _done(args, f"{', '.join(args.subnets)} kept for {args.node}.")


def _subnet(text: str) -> IPNetwork:
    try:
        return parse_prefix("SUBNET", text)
    except ConfigError as error:
        raise ArgumentError(error.field, error.value, error.rule) from error


def _unreserve(args: argparse.Namespace) -> int:
    ask_store(args, lambda store: store.unreserve(args.node))
    return _done(args, f"Nothing is kept for {args.node} any more.")


def _done(args: argparse.Namespace, text: str) -> int:
    return print_done(args, {"node": args.node, "done": text}, text)
