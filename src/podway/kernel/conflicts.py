"""When the kernel says EEXIST although it was asked to replace: look what is there, and mend it.

In: an operation and the kernel's refusal. Out: None once all is as wanted, or the error that stays.
Why it is needed: IPv4 takes an address with its prefix length for identity, IPv6 the address alone
(net/ipv6/addrconf.c); a rule has its protocol beside its identity; and an IPv4 route is not
replaced when the same one stands behind a foreign one of the same key (fib_table_insert). All rare,
so none of it costs the ordinary write anything.
"""

from podway.diff.operations import Operation, Verb
from podway.kernel.addresses import parse_address
from podway.kernel.routes import route_identity
from podway.kernel.rules import parse_rule, rule_fields
from podway.kernel.writes import IndexOf, delete_request, write_request
from podway.model.kernel import Address, KernelObject, Route, Rule
from podway.netlink import (
    EncodeError,
    NetlinkError,
    NetlinkSocket,
    delete_route,
    delete_rule,
    dump_addresses,
    dump_rules,
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
    if isinstance(error, EncodeError) or not error.is_exists or desired is None:
        return error
    try:
        match desired:
            case Address():
                _settle_address(netlink, desired, index_of)
            case Rule():
                _settle_rule(netlink, desired, index_of)
            case Route():
                _settle_route(netlink, desired, index_of)
            case _:
                return error
    except NetlinkError as failure:
        return failure
    return None


def _settle_address(netlink: NetlinkSocket, desired: Address, index_of: IndexOf) -> None:
    if desired.address.version == 4:  # the same with another prefix length would be another one
        return
    index = index_of(desired.dev)
    for message in netlink.dump(dump_addresses(index=index)):
        there = parse_address(message, desired.dev)
        if there is not None and there.address.ip == desired.address.ip and there != desired:
            _replace(netlink, there, desired, index_of)
            return


def _settle_rule(netlink: NetlinkSocket, desired: Rule, index_of: IndexOf) -> None:
    for message in netlink.dump(dump_rules(int(desired.family))):
        there = parse_rule(message)
        if there is not None and there.key == desired.key and there != desired:
            netlink.request(delete_rule(rule_fields(there)))
            netlink.request(write_request(desired, index_of))
            return


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


def _replace(
    netlink: NetlinkSocket, there: KernelObject, desired: KernelObject, index_of: IndexOf
) -> None:
    requests = [delete_request(there, index_of), write_request(desired, index_of)]
    for error in netlink.batch(requests):
        if error is not None:
            raise error
