"""In which order a set of operations is safe.

What goes away goes first, what stands on others before what it stands on; then what comes, what
others stand on first; addresses and devices that are no longer wanted go last (the last IPv4
address of a device takes the routes on it along, so a new one must be there before). So a VTEP is
there before its routes and its routes are gone before it, and a prefix that moves from one route to
another is never without both for longer than one batch takes. What stands on a device that is
deleted in the same batch goes with it and needs no operation of its own.
"""

from collections.abc import Iterable

from podway.diff.operations import Operation, Verb
from podway.model.kernel import KernelObject, Key, Link

_RANKS = {
    kind: rank
    for rank, kind in enumerate(
        (
            "link",
            "address",
            "sysctl",
            "offload",
            "wireguard",
            "wgpeer",
            "allowedip",
            "relay",
            "udppeer",
            "proxy",
            "neighbour",
            "fdb",
            "route",
            "rule",
            "nft",
        )
    )
}


def device_of(item: KernelObject | None) -> str:
    """Return the device that *item* stands on, or ""."""
    return getattr(item, "dev", "")


def in_order(operations: Iterable[Operation]) -> list[Operation]:
    """Return *operations* in a safe order, without those that a device's deletion covers."""
    batch = list(operations)
    doomed = {str(op.key.parts[0]) for op in batch if _deletes_link(op)}
    kept = [op for op in batch if not _covered(op, doomed)]
    remade = {op.key for op in kept if op.verb is Verb.CREATE and op.key.kind == "link"}
    return sorted(kept, key=lambda op: _position(op, remade))


def _deletes_link(op: Operation) -> bool:
    return op.verb is Verb.DELETE and op.key.kind == "link"


def _covered(op: Operation, doomed: set[str]) -> bool:
    return (
        op.verb is Verb.DELETE
        and op.key.kind not in ("link", "sysctl", "offload")
        and device_of(op.observed) in doomed
    )


def _position(op: Operation, remade: set[Key]) -> tuple[int, int, bool, Key]:
    rank = _RANKS[op.key.kind]
    if op.verb is not Verb.DELETE:
        return (1, rank, _is_port(op), op.key)
    if op.key.kind == "address":
        return (2, 0, False, op.key)
    if op.key.kind != "link":
        return (0, -rank, False, op.key)
    # A device that is made anew must go before its successor comes, any other one last.
    return (0, 1, False, op.key) if op.key in remade else (3, 0, False, op.key)


def _is_port(op: Operation) -> bool:
    """Tell whether the operation makes a port: its bridge must be there before it."""
    return isinstance(op.desired, Link) and bool(op.desired.master)
