"""From an operation to the netlink requests that carry it out. Pure.

In: operations and a function from device names to indexes. Out: requests. An object that is made
while something has its key replaces it: CREATE and CHANGE differ for links alone. Where the kernel
does not know how to replace, `podway.kernel.conflicts` helps.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from podway.diff.operations import Operation, Verb
from podway.kernel.addresses import address_fields
from podway.kernel.links import change_requests
from podway.kernel.neighbours import fdb_fields, fdb_identity, neighbour_fields
from podway.kernel.protocol import KernelError
from podway.kernel.routes import route_fields, route_identity
from podway.kernel.rules import rule_fields
from podway.model.kernel import (
    Address,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    Route,
    Rule,
)
from podway.netlink import (
    Request,
    create_address,
    create_rule,
    delete_address,
    delete_fdb,
    delete_neighbour,
    delete_route,
    delete_rule,
    replace_fdb,
    replace_neighbour,
    replace_route,
)

IndexOf = Callable[[str], int]
# Kinds that are not rtnetlink's, or need more than messages, and with whom they go together.
_APART = {
    "sysctl": "sysctl",
    "offload": "offload",
    "nft": "nft",
    "wireguard": "wireguard",
    "wgpeer": "wireguard",
    "allowedip": "wireguard",
    "relay": "relay",
    "udppeer": "relay",
}


def batches(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """Yield runs of *operations*, in order, that go out in the same way."""
    start = 0
    for stop in range(1, len(operations) + 1):
        if stop == len(operations) or _way(operations[stop]) != _way(operations[start]):
            yield operations[start:stop]
            start = stop


def _way(operation: Operation) -> tuple[str, Verb | None]:
    kind = operation.key.kind
    if kind == "link" and operation.verb is not Verb.CHANGE:
        return kind, operation.verb
    return _APART.get(kind, "netlink"), None


def requests_of(operation: Operation, index_of: IndexOf) -> list[Request[Any]]:
    """Return what carries *operation* out, in order; links are made and deleted elsewhere."""
    desired, observed = operation.desired, operation.observed
    if operation.verb is Verb.DELETE:
        assert observed is not None, f"{operation} does not say what was there"
        return [delete_request(observed, index_of)]
    assert desired is not None, f"{operation} does not say what shall be there"
    if isinstance(desired, Link):
        assert isinstance(observed, Link), f"{operation} does not say what was there"
        return list(change_requests(desired, observed, index_of))
    return [write_request(desired, index_of)]


def write_request(item: KernelObject, index_of: IndexOf) -> Request[Any]:
    """Return the request that makes *item*, or that replaces what has its key."""
    match item:
        case Route():
            _check_metric(item)
            return replace_route(route_fields(item, index_of))
        case Neighbour():
            return replace_neighbour(neighbour_fields(item, index_of(item.dev)))
        case FdbEntry():
            return replace_fdb(fdb_fields(item, index_of(item.dev)))
        case Address():
            return create_address(address_fields(item.address, index_of(item.dev), item.scope))
        case Rule():
            return create_rule(rule_fields(item))
        case _:
            raise AssertionError(f"{item} is not written by one message")


def delete_request(item: KernelObject, index_of: IndexOf) -> Request[Any]:
    """Return the request that deletes *item*."""
    match item:
        case Route():
            # By its protocol too: another program's route that took the key meanwhile is not ours.
            return delete_route({**route_identity(item), "protocol": item.protocol})
        case Neighbour():
            return delete_neighbour(neighbour_fields(item, index_of(item.dev)))
        case FdbEntry():
            return delete_fdb(fdb_identity(item, index_of(item.dev)))
        case Address():
            return delete_address(address_fields(item.address, index_of(item.dev), item.scope))
        case Rule():
            return delete_rule(rule_fields(item))
        case _:
            raise AssertionError(f"{item} is not deleted by one message")


def _check_metric(route: Route) -> None:
    """Refuse an IPv6 route that the kernel would file under another key, to be written for ever."""
    if route.dst.version == 6 and not route.metric:
        rule = "an IPv6 route has a metric above 0 (the kernel makes 0 into 1024)"
        raise KernelError(errno.EINVAL, f"write route {route.dst}", rule)
