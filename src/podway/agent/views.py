"""What the agent tells people, as plain values for JSON: pure reads of its state."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from podway.agent.desires import peer_source
from podway.diff.operations import Operation
from podway.model.kernel import KernelObject
from podway.model.nodes import Node, Uplink
from podway.model.programs import peer_program_name

if TYPE_CHECKING:
    from podway.agent.agent import Agent


def view_status(agent: "Agent", reasons: list[str], now: float) -> dict[str, Any]:
    """Return one node's status: who it is, what it has, what is wrong."""
    network = agent.cluster.network
    me = agent.me
    return {
        "node": agent.settings.node,
        "backend": network.backend_name if network is not None else None,
        "attach": network.attach if network is not None else None,
        "network": [str(pool.prefix) for pool in network.pools] if network is not None else [],
        "subnets": [str(lease.subnet) for lease in me.leases] if me is not None else [],
        "mtu": _mtus(agent),
        "uplink": _uplink(agent.uplink),
        "store": {
            "url": agent.settings.store,
            "state": agent.watch.state,
            "since_s": round(now - agent.watch.since, 1),
            "revision": agent.cluster.revision,
            "reason": agent.watch.reason,
        },
        "ready": not reasons,
        "ready_reasons": reasons,
        "peers": _peers(agent),
        "endpoints": len(agent.endpoints),
        "drained": agent.node.is_drained(),
        "stranded": [
            {"pod": each.pod or str(each.key), "addresses": list(map(str, each.addresses))}
            for each in agent.node.stranded()
        ],
        "addresses": count_addresses(agent, now),
        "drift_repaired": agent.tracker.drift_repaired,
        "checksum_errors": agent.checksum_errors(),
        "forward": agent.forward.error,
        "forward_drops": list(agent.lookout.forward_drops),
        "conflicts": [
            {"object": str(key), "claimants": ["/".join(source) for source in sources]}
            for key, sources in agent.tracker.conflicts().items()
        ],
        "failing": [
            {
                "operation": str(failure.operation),
                "error": str(failure.error),
                "since_s": round(now - failure.since, 1),
            }
            for failure in agent.tracker.failures.values()
        ],
        "last_reconcile": agent.reconciler.last,
    }


def _mtus(agent: "Agent") -> dict[str, int]:
    place = agent.desires.place
    if place is None:
        return {}
    return {family.label.lower(): mtu for family, mtu in place.mtus.items()}


def _uplink(uplink: Uplink | None) -> dict[str, Any] | None:
    if uplink is None:
        return None
    return {
        "dev": uplink.dev,
        "mtu": uplink.mtu,
        "addresses": [str(address) for address in uplink.addresses],
        **({"ipv6_by": _uplink(uplink.ipv6_by)} if uplink.ipv6_by is not None else {}),
    }


def _peers(agent: "Agent") -> list[dict[str, Any]]:
    is_current = agent.is_current()
    return [
        _peer(agent, node, is_current=is_current)
        for name, node in sorted(agent.cluster.nodes.items())
        if name != agent.settings.node
    ]


def _peer(agent: "Agent", node: Node, *, is_current: bool) -> dict[str, Any]:
    source = peer_source(node.name)
    program = peer_program_name(node.name)
    skipped = agent.desires.skipped.get(node.name, ())
    broken = agent.tracker.failures_of(source)
    if skipped:
        state, reason = "skipped", "; ".join(skipped)
    elif broken:
        state, reason = "pending", str(broken[0].error)
    elif node.name not in agent.desires.computed or not agent.programs.is_done(program):
        state, reason = "pending", agent.programs.failures.get(program, "")
    elif not is_current:
        state, reason = "pending", "the network, the lease or the uplink has just become another"
    elif not agent.tracker.in_force(source):
        state, reason = "pending", "is being programmed"
    else:
        state, reason = "programmed", ""
    return {
        "name": node.name,
        "public_ips": [str(lease.public_ip) for lease in node.leases],
        "subnets": [str(lease.subnet) for lease in node.leases],
        "state": state,
        "reason": reason,
    }


def count_addresses(agent: "Agent", now: float) -> dict[str, Any]:
    """Return how many addresses are used, cooling and free: of each family, and over all pools."""
    counts = {family: _counts(agent, family, now) for family in agent.ipam.pools}
    names = ("used", "cooling", "free")
    sums = {name: sum(item[name] for item in counts.values()) for name in names}
    return {**sums, **{family.label.lower(): item for family, item in counts.items()}}


def _counts(agent: "Agent", family: Any, now: float) -> dict[str, int]:
    pool = agent.ipam.pools[family]
    cooling = pool.cooling(now)
    return {"used": pool.used, "cooling": cooling, "free": pool.size - pool.used - cooling}


def view_addresses(agent: "Agent", wall: float, now: float) -> dict[str, Any]:
    """Return the pools and every address that is held or was given back."""
    pools = [
        {"subnet": str(pool.subnet), **_counts(agent, family, now)}
        for family, pool in agent.ipam.pools.items()
    ]
    rows = []
    for row in agent.ledger.addresses():
        endpoint = agent.endpoints.get(row.key)
        held = row.released_at is None
        rows.append(
            {
                "address": str(row.address),
                "state": "held" if held else "released",
                "network": row.key.network,
                "container_id": row.key.container_id,
                "ifname": row.key.ifname,
                "pod": endpoint.pod if held and endpoint is not None else "",
                "netns": endpoint.netns if held and endpoint is not None else "",
                "released_s": None if row.released_at is None else round(wall - row.released_at, 1),
            }
        )
    return {"pools": pools, "addresses": rows}


def view_diff(operations: Iterable[Operation]) -> list[dict[str, Any]]:
    """Return *operations* as people read a plan: verb, object, what shall be, what is."""
    return [
        {
            "verb": operation.verb.value,
            "object": str(operation.key),
            "desired": _fields(operation.desired),
            "observed": _fields(operation.observed),
        }
        for operation in operations
    ]


def _fields(item: KernelObject | None) -> dict[str, Any] | None:
    if item is None:
        return None
    built: dict[str, Any] = msgspec.to_builtins(item, enc_hook=str)
    return built
