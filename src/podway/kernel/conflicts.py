"""Where the kernel would not replace what is there although it was asked to: the way around.

In: an operation and the kernel's refusal. Out: None once all is as wanted, or the error that stays.
Why it is needed (all of it is rare and costs the ordinary write nothing):

- EEXIST: IPv4 takes an address with its prefix length for identity, IPv6 the address alone
  (net/ipv6/addrconf.c), and replaces everything but the length; IPv4 does not replace the scope.
- EEXIST: an IPv4 route is not replaced when the same one stands behind another program's of the
  same key (net/ipv4/fib_trie.c, fib_table_insert).
- EINVAL: an IPv6 gateway that is declared on link must not be covered by a route over another
  device, unless by default (net/ipv6/route.c, ip6_route_check_nh_onlink): not even by the very
  route that shall be replaced. So the prefix is first laid onto the right device.
"""

import errno
from ipaddress import IPv6Network
from typing import Any

from msgspec.structs import replace

from podway.diff.operations import Operation, Verb
from podway.kernel.addresses import parse_address
from podway.kernel.routes import route_identity
from podway.kernel.writes import IndexOf, delete_request, write_request
from podway.model.kernel import Address, Route, Rule
from podway.netlink import (
    EncodeError,
    NetlinkError,
    NetlinkSocket,
    Request,
    delete_route,
    dump_addresses,
)

# How many routes of one key another program may have left; more are its own matter.
_ROUTES_MAX = 16


def is_settled(operation: Operation, error: NetlinkError | EncodeError) -> bool:
    """Tell whether the kernel is already as *operation* would make it."""
    gone = isinstance(error, NetlinkError) and error.is_not_found
    return operation.verb is Verb.DELETE and gone


def settle(
    netlink: NetlinkSocket,
    operation: Operation,
    error: NetlinkError | EncodeError,
    index_of: IndexOf,
) -> NetlinkError | EncodeError | None:
    """Carry out *operation* although something has its place; return why not, or None."""
    desired = operation.desired
    if isinstance(error, EncodeError):
        return error
    try:
        match desired:
            case Address() if error.is_exists:
                _settle_address(netlink, desired, index_of)
            case Rule() if error.is_exists:
                pass
            case Route() if error.is_exists:
                _settle_route(netlink, desired, index_of)
            case Route(onlink=True, dst=IPv6Network()) if error.errno == errno.EINVAL:
                direct = replace(desired, via=None, onlink=False)
                _send(netlink, write_request(direct, index_of), write_request(desired, index_of))
            case _:
                return error
    except NetlinkError as failure:
        return failure
    return None


def _settle_address(netlink: NetlinkSocket, desired: Address, index_of: IndexOf) -> None:
    index = index_of(desired.dev)
    for message in netlink.dump(dump_addresses(index=index)):
        there = parse_address(message, desired.dev)
        if there is not None and _is_in_the_way(there, desired):
            _send(netlink, delete_request(there, index_of), write_request(desired, index_of))
            return


def _is_in_the_way(there: Address, desired: Address) -> bool:
    """Tell whether *there* has the place of *desired*, with what cannot be changed in place."""
    if desired.address.version == 4:  # the same with another prefix length would be another one
        return there.key == desired.key and there != desired
    return there.address.ip == desired.address.ip and there != desired


def _settle_route(netlink: NetlinkSocket, desired: Route, index_of: IndexOf) -> None:
    """Remove every route of the key: ours stands behind another one and cannot come before it."""
    for _ in range(_ROUTES_MAX):
        try:
            netlink.request(delete_route(route_identity(desired)))
        except NetlinkError as error:
            if not error.is_not_found:
                raise
            break
    netlink.request(write_request(desired, index_of))


def _send(netlink: NetlinkSocket, *requests: Request[Any]) -> None:
    for error in netlink.batch(requests):
        if error is not None:
            raise error
