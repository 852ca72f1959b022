"""An agent's ``status`` as a screen of text, and several agents' as one table. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from podway.cli.output import Style, counted, elapsed, indent, plural, render_table

PEERS_SHOWN = 20
_FAMILIES = (("ipv4", "IPv4"), ("ipv6", "IPv6"))


def render_status(status: Mapping[str, Any], style: Style, now_s: float) -> list[str]:
    """Return the lines that describe one node.

    Args:
        status: the agent's answer.
        style: marks up what is good and bad.
        now_s: seconds since the epoch, against which the agent's times are shown.
    """
    return [
        _headline(status, style),
        *(f"  {label:<10} {text}" for label, text in _facts(status, style, now_s)),
        *_failing(status, style),
        *_conflicts(status, style),
        *_stranded(status, style),
        *_peers(status["peers"], style),
    ]


def _headline(status: Mapping[str, Any], style: Style) -> str:
    state = style.good("ready") if status["ready"] else style.bad("not ready")
    reasons = f": {'; '.join(status['ready_reasons'])}" if not status["ready"] else ""
    return f"node {style.bold(status['node'])} is {state}{reasons}"


def _facts(status: Mapping[str, Any], style: Style, now_s: float) -> list[tuple[str, str]]:
    return [
        ("backend", f"{status['backend'] or 'none yet'}{_mtu(status['mtu'])}"),
        ("network", _listed(status["network"])),
        ("subnets", f"{_listed(status['subnets'])}{_drained(status)}"),
        ("uplink", describe_uplink(status["uplink"])),
        ("store", describe_store(status["store"], style)),
        ("pods", plural(status["endpoints"], "interface")),
        ("addresses", _pools(status)),
        ("drift", f"{plural(status['drift_repaired'], 'object')} repaired"),
        *_checksums(status.get("checksum_errors", 0)),
        *(("forward", style.bad(text)) for text in _refused_forwarding(status)),
        *(("firewall", style.warn(text)) for text in _foreign_drops(status)),
        *_last_reconcile(status.get("last_reconcile"), now_s),
    ]


def _checksums(errors: int) -> list[tuple[str, str]]:
    if not errors:
        return []
    came = f"{plural(errors, 'datagram')} came with a wrong one since the start"
    return [("checksums", f"{came}: see TxChecksumOffload")]


def _refused_forwarding(status: Mapping[str, Any]) -> list[str]:
    error = status.get("forward", "")
    return [f"packets may be dropped: {error}"] if error else []


def _foreign_drops(status: Mapping[str, Any]) -> list[str]:
    """Return a remark on each chain of somebody else's that drops; it may accept our packets."""
    rule = "drops forwarded packets that it does not accept: it must accept the network's"
    return [f"chain {chain} {rule}" for chain in status.get("forward_drops", ())]


def _mtu(mtu: Mapping[str, int | None]) -> str:
    shown = [f"{mtu[key]} ({label})" for key, label in _FAMILIES if mtu.get(key)]
    return f", MTU {', '.join(shown)}" if shown else ""


def _pools(status: Mapping[str, Any]) -> str:
    """Return the counts of each family; an agent of another version may tell sums alone."""
    addresses: Mapping[str, Any] = status["addresses"]
    shown = [f"{_pool(addresses[key])} ({label})" for key, label in _FAMILIES if key in addresses]
    return "; ".join(shown) or _pool(addresses)


def _pool(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counted(counts[kind])} {kind}" for kind in ("used", "cooling", "free"))


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items) if items else "none yet"


def _drained(status: Mapping[str, Any]) -> str:
    return " (drained: left when the last pod has ended)" if status.get("drained") else ""


def describe_uplink(uplink: Mapping[str, Any] | None) -> str:
    """Return the uplink in one line."""
    if not uplink:
        return "none found"
    addresses = ", ".join(uplink["addresses"]) or "no address"
    second = uplink.get("ipv6_by")
    more = f"; IPv6 by {describe_uplink(second)}" if second else ""
    return f"{uplink['dev']}, MTU {uplink['mtu']}, {addresses}{more}"


def describe_store(store: Mapping[str, Any], style: Style) -> str:
    """Return the state of the connection to the store in one line."""
    since = f" for {elapsed(store['since_s'])}" if store.get("since_s") is not None else ""
    reason = f" ({store['reason']})" if store.get("reason") else ""
    match store["state"]:
        case "connected":
            revision = f", revision {store['revision']}"
            return f"{style.good('connected')}{since}, {store['url']}{revision}"
        case "away":
            return f"{style.bad('away')}{since}, {store['url']}{reason}"
        case _:
            return f"{style.bad('never reached')}, {store['url']}{reason}"


def _last_reconcile(last: Mapping[str, Any] | None, now_s: float) -> list[tuple[str, str]]:
    if not last:
        return []
    wrote = f"wrote {plural(last['operations'], 'object')} in {last['duration_ms']:.1f} ms"
    failed = f", {last['failed']} failed" if last["failed"] else ""
    return [("last pass", f"{wrote}{failed}, {elapsed(max(0.0, now_s - last['at']))} ago")]


def _failing(status: Mapping[str, Any], style: Style) -> list[str]:
    rows = [
        (entry["operation"], elapsed(entry["since_s"]), style.bad(entry["error"]))
        for entry in status["failing"]
    ]
    if not rows:
        return []
    return ["", *indent(render_table(("FAILING", "FOR", "WHY"), rows, style))]


def _conflicts(status: Mapping[str, Any], style: Style) -> list[str]:
    rows = [
        (conflict["object"], style.bad(" and ".join(conflict["claimants"])))
        for conflict in status.get("conflicts", ())
    ]
    if not rows:
        return []
    return ["", *indent(render_table(("WANTED TWICE", "BY"), rows, style))]


def _stranded(status: Mapping[str, Any], style: Style) -> list[str]:
    rows = [
        (style.bad(pod["pod"]), ", ".join(pod["addresses"])) for pod in status.get("stranded", ())
    ]
    if not rows:
        return []
    header = ("CUT OFF: MAKE ANEW", "NOT THIS NODE'S ANY MORE")
    return ["", *indent(render_table(header, rows, style))]


def _peers(peers: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    if not peers:
        return ["", "  no other node yet"]
    rows = [
        (
            peer["name"],
            ", ".join(peer["public_ips"]),
            ", ".join(peer["subnets"]),
            _peer_state(peer, style),
        )
        for peer in _worst_first(peers)[:PEERS_SHOWN]
    ]
    table = render_table(("PEER", "UNDERLAY", "SUBNETS", "STATE"), rows, style)
    more = len(peers) - len(rows)
    return ["", *indent(table), *([f"  and {more} more (all with --json)"] if more else [])]


def _worst_first(peers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(peers, key=lambda peer: peer["state"] == "programmed")


def _peer_state(peer: Mapping[str, Any], style: Style) -> str:
    if peer["state"] == "programmed":
        return style.good("programmed")
    reason = f": {peer['reason']}" if peer.get("reason") else ""
    return style.bad(f"{peer['state']}{reason}")


def render_cluster(
    statuses: Mapping[str, Mapping[str, Any]], away: Mapping[str, str], style: Style
) -> list[str]:
    """Return one table for many nodes; *away* says of some why they did not answer."""
    header = ("NODE", "STATE", "BACKEND", "SUBNETS", "PEERS", "PODS", "REPAIRED", "STORE")
    rows = [
        *(_cluster_row(name, status, style) for name, status in statuses.items()),
        *((name, style.bad("away"), "", "", "", "", "", "") for name in away),
    ]
    rows.sort(key=lambda row: (len(row[0]), row[0]))
    lines = render_table(header, rows, style)
    troubles = [
        *(f"{name}: {reason}" for name, reason in away.items()),
        *(f"{name}: {reason}" for name, status in statuses.items() for reason in _troubles(status)),
    ]
    return [*lines, *(["", *troubles] if troubles else [])]


def _cluster_row(name: str, status: Mapping[str, Any], style: Style) -> tuple[str, ...]:
    programmed = sum(peer["state"] == "programmed" for peer in status["peers"])
    store = status["store"]["state"]
    return (
        name,
        style.good("ready") if status["ready"] else style.bad("not ready"),
        status["backend"],
        ", ".join(status["subnets"]),
        f"{programmed}/{len(status['peers'])}",
        str(status["endpoints"]),
        str(status["drift_repaired"]),
        style.good(store) if store == "connected" else style.bad(store),
    )


def _troubles(status: Mapping[str, Any]) -> list[str]:
    reasons = [] if status["ready"] else list(status["ready_reasons"])
    failing = [f"{entry['operation']}: {entry['error']}" for entry in status["failing"]]
    return [*reasons, *failing, *_refused_forwarding(status), *_foreign_drops(status)]
