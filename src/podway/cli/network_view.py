"""A network as text: its prefixes and who uses them, its backend. Pure."""

from collections.abc import Sequence
from typing import Any

from podway.cli.output import Style, plural, render_table
from podway.compute.pool_use import PoolUse
from podway.model.networks import Network, Pool, UdpConfig, VxlanConfig, WireguardConfig

HOLDERS_SHOWN = 5


def render_network(
    network: Network, style: Style, uses: Sequence[PoolUse] | None = None
) -> list[str]:
    """Return what *network* means, and *uses* of its prefixes where they are known."""
    return [
        *_prefixes(network, style, uses),
        "",
        f"backend     {_backend(network)}",
        f"attach      {network.attach}",
        f"masquerade  {'yes' if network.masquerade else 'no'}{_exempt(network)}",
        *_homeless(uses or ()),
    ]


def network_fields(uses: Sequence[PoolUse]) -> list[dict[str, Any]]:
    """Return *uses* as plain values for JSON; the prefix is None for what lies in none."""
    return [
        {
            "network": None if use.pool is None else str(use.pool.prefix),
            "drains": use.pool is not None and use.pool.drain,
            "room": 0 if use.pool is None else use.pool.room,
            "leased": {name: str(subnet) for name, subnet in use.leased},
            "reserved": {name: str(subnet) for name, subnet in use.reserved},
        }
        for use in uses
    ]


def _prefixes(network: Network, style: Style, uses: Sequence[PoolUse] | None) -> list[str]:
    """Return the table of prefixes, without the columns that would be empty."""
    known = {use.pool: use for use in uses or ()}
    header = ("FAMILY", "NETWORK", "PER NODE", "SUBNETS", "USED", "STATE")
    rows = [_row(pool, known.get(pool)) for pool in network.pools]
    columns = [column for column in zip(header, *rows, strict=True) if any(column[1:])]
    titles, *cells = zip(*columns, strict=True)
    return render_table(titles, cells, style)


def _row(pool: Pool, use: PoolUse | None) -> tuple[str, ...]:
    used = "" if use is None else f"{len(use.leased) + len(use.reserved)} of {pool.room}"
    fields = (pool.family.label, str(pool.prefix), f"/{pool.subnet_len}", _range(pool))
    return (*fields, used, _state(use) if pool.drain else "")


def _state(use: PoolUse | None) -> str:
    """Return how far the prefix of *use* is drained."""
    if use is None:
        return "drains"
    return f"drains: {_listed(use.holders)}" if use.holders else "drained: may be removed"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - HOLDERS_SHOWN
    shown = ", ".join(names[:HOLDERS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _homeless(uses: Sequence[PoolUse]) -> list[str]:
    """Return who holds what has no place in the network."""
    held = [item for use in uses if use.pool is None for item in (*use.leased, *use.reserved)]
    if not held:
        return []
    listed = _listed([f"{subnet} of {name}" for name, subnet in held])
    return ["", f"{plural(len(held), 'subnet')} in none of the prefixes: {listed}"]


def _range(pool: Pool) -> str:
    return f"{pool.subnet_min.network_address} to {pool.subnet_max.network_address}"


def _backend(network: Network) -> str:
    words = [network.backend_name]
    match network.backend:
        case VxlanConfig() as config:
            words += [f"VNI {config.vni}", f"UDP port {config.port}"]
        case UdpConfig(port=port):
            words.append(f"UDP port {port}")
        case WireguardConfig() as config:
            words += [f"mode {config.mode}", f"UDP port {config.listen_port}"]
            words += [f"{config.listen_port_v6} for IPv6"] if config.mode == "separate" else []
            words += ["a shared secret"] if config.psk else []
        case _:
            pass
    if getattr(network.backend, "direct_routing", False):
        words.append("direct routing")
    return ", ".join(words)


def _exempt(network: Network) -> str:
    prefixes = ", ".join(map(str, network.non_masquerade))
    return f", but not towards {prefixes}" if prefixes else ""
