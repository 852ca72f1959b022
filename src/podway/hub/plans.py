"""From a request to what it changes: every decision of the hub, pure.

In: the `State`, a request of the wire, and hub time. Out: a `Plan`, that is the objects to write,
the lease terms to set, and the answer; or a `StoreError` that says why not. `ledger` carries plans
out. A plan that writes nothing (a claim repeated, the same text again) is no event for anybody.
"""

from collections.abc import Iterable
from functools import singledispatch

from msgspec import Struct

from podway.compute.subnets import (
    SubnetRefused,
    check_name,
    check_reservation,
    compute_leases,
    describe_misfits,
)
from podway.errors import ConfigError
from podway.hub.state import Record, State
from podway.hub.terms import Term, start_term
from podway.model.addresses import IPNetwork
from podway.model.networks import Network, parse_network
from podway.model.nodes import Node
from podway.store.codec import claim_from_body, encode_node, encode_subnets, parse_subnet
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    KIND_RESERVATION,
    NETWORK_NAME,
    AnyRequest,
    ClaimLease,
    Delete,
    Get,
    Item,
    List,
    Put,
    ReleaseLease,
    RenewLease,
    Reserve,
)
from podway.store.protocol import ClaimRefused, LeaseLost
from podway.store.refusals import Conflict, ValueRefused

KIND_MAX_CHARS = 63


class Write(Struct, frozen=True):
    """Let the object read *value* from now on; None removes it."""

    kind: str
    name: str
    value: bytes | None


class Plan(Struct, frozen=True, kw_only=True):
    """What a request changes, and what it is answered.

    Attributes:
        writes: objects, in order; each gets a revision of its own.
        terms: lease terms that begin anew; not seen by watchers.
        revision: of the object that the answer is about; None: that of the last write.
        value: the answer's value, if it has one.
        items: the answer's list, if it is one.
    """

    writes: tuple[Write, ...] = ()
    terms: tuple[Term, ...] = ()
    revision: int | None = None
    value: bytes | None = None
    items: tuple[Item, ...] | None = None


@singledispatch
def plan_request(request: AnyRequest, state: State, now_s: float) -> Plan:
    """Return what *request* changes in *state* at *now_s* of hub time.

    Raises:
        StoreError: the request is refused; nothing changes.
    """
    del state, now_s
    raise ValueRefused(f"{type(request).__name__} changes nothing and reads nothing")


@plan_request.register
def plan_claim(request: ClaimLease, state: State, now_s: float) -> Plan:
    """Lease subnets to a node; see `compute_leases` for which."""
    claim = claim_from_body(request.claim)
    network = _usable_network(state)
    try:
        leases = compute_leases(network, claim, state.holdings)
    except SubnetRefused as error:
        raise ClaimRefused(str(error)) from error
    value = encode_node(Node(name=claim.name, backend=claim.backend, leases=leases))
    writes = _unless_same(state, KIND_NODE, claim.name, value)
    revision = None if writes else _revision(state.get(KIND_NODE, claim.name))
    term = start_term(claim.name, claim.ttl_s, now_s)
    return Plan(writes=writes, terms=(term,), revision=revision, value=value)


@plan_request.register
def plan_renewal(request: RenewLease, state: State, now_s: float) -> Plan:
    """Start a node's term anew; no object changes."""
    term = state.terms.get(request.name)
    if term is None:
        raise LeaseLost(f"node {request.name} has no lease (any more): claim one")
    return Plan(terms=(start_term(term.name, term.ttl_s, now_s),), revision=state.revision)


@plan_request.register
def plan_release(request: ReleaseLease, state: State, now_s: float) -> Plan:
    """Take a node's lease; nothing to do when it has none."""
    del now_s
    return _removal(state, KIND_NODE, request.name)


@plan_request.register
def plan_reservation(request: Reserve, state: State, now_s: float) -> Plan:
    """Keep subnets for a node."""
    del now_s
    subnets = parse_subnets(request)
    try:
        check_reservation(_usable_network(state), request.name, subnets, state.holdings)
    except SubnetRefused as error:
        raise ClaimRefused(str(error)) from error
    value = encode_subnets(subnets)
    writes = _unless_same(state, KIND_RESERVATION, request.name, value)
    return Plan(writes=writes, revision=None if writes else state.revision)


@plan_request.register
def plan_put(request: Put, state: State, now_s: float) -> Plan:
    """Store a value under compare-and-swap; the network's configuration is checked first."""
    del now_s
    if request.kind in {KIND_NODE, KIND_RESERVATION}:
        raise ValueRefused(f"{request.kind} {request.name}: is claimed or reserved, not put")
    _check_key(request)
    _check_expected(state, request)
    if request.kind == KIND_CONFIG:
        _check_network(state, request)
    writes = _unless_same(state, request.kind, request.name, request.value)
    current = state.get(request.kind, request.name)
    return Plan(writes=writes, revision=None if writes else _revision(current))


@plan_request.register
def plan_deletion(request: Delete, state: State, now_s: float) -> Plan:
    """Remove a value under compare-and-swap; nothing to do when it is not there."""
    del now_s
    if request.kind == KIND_CONFIG:
        raise ValueRefused("the network configuration cannot be removed; put another in its place")
    _check_expected(state, request)
    return _removal(state, request.kind, request.name)


@plan_request.register
def plan_get(request: Get, state: State, now_s: float) -> Plan:
    """Read one value; revision 0 and no value when it is not there."""
    del now_s
    record = state.get(request.kind, request.name)
    return Plan(revision=_revision(record), value=record.value if record else None)


@plan_request.register
def plan_list(request: List, state: State, now_s: float) -> Plan:
    """Read all values of one kind, by name."""
    records = sorted(state.records(request.kind), key=lambda record: record.name)
    items = tuple(_item(record, state, now_s) for record in records)
    return Plan(revision=state.revision, items=items)


def plan_expiry(state: State, names: Iterable[str]) -> Plan:
    """Take the leases of *names*, whose terms have ended."""
    gone = (name for name in names if state.get(KIND_NODE, name))
    return Plan(writes=tuple(Write(KIND_NODE, name, None) for name in gone))


def _usable_network(state: State) -> Network:
    if state.network is not None:
        return state.network
    if state.network_error:
        message = f"this hub cannot use the network configuration it holds: {state.network_error}"
        raise ClaimRefused(message)
    raise ClaimRefused("no network is configured yet: `podway network apply` a net-conf.json")


def _revision(record: Record | None) -> int:
    return 0 if record is None else record.revision


def _unless_same(state: State, kind: str, name: str, value: bytes) -> tuple[Write, ...]:
    record = state.get(kind, name)
    return () if record is not None and record.value == value else (Write(kind, name, value),)


def _removal(state: State, kind: str, name: str) -> Plan:
    if state.get(kind, name) is None:
        return Plan(revision=state.revision)
    return Plan(writes=(Write(kind, name, None),))


def _item(record: Record, state: State, now_s: float) -> Item:
    assert record.value is not None, "only what is there is listed"
    term = state.terms.get(record.name) if record.kind == KIND_NODE else None
    if term is None or not term.ttl_s:
        return Item(name=record.name, revision=record.revision, value=record.value)
    return Item(
        name=record.name,
        revision=record.revision,
        value=record.value,
        ttl_s=term.ttl_s,
        expires_in_s=max(0.0, round(term.deadline_s - now_s, 3)),
    )


def parse_subnets(request: Reserve) -> tuple[IPNetwork, ...]:
    """Return the subnets that *request* names, one at least. Raises ValueRefused."""
    if not request.subnets:
        raise ValueRefused(f"reservation for node {request.name}: names no subnet")
    try:
        return tuple(parse_subnet(text) for text in request.subnets)
    except ValueError as error:
        raise ValueRefused(f"reservation for node {request.name}: {error}") from error


def _check_key(request: Put) -> None:
    kind = request.kind
    if not (0 < len(kind) <= KIND_MAX_CHARS and kind.replace("-", "").isalnum() and kind.isascii()):
        raise ValueRefused(f"kind {kind[:80]!r}: must be 1 to {KIND_MAX_CHARS} letters or '-'")
    try:
        check_name(request.name)
    except SubnetRefused as error:
        raise ValueRefused(f"{kind}: {error}") from error


def _check_expected(state: State, request: Put | Delete) -> None:
    current = _revision(state.get(request.kind, request.name))
    if request.expected is None or request.expected == current:
        return
    known = f"revision {current}" if current else "not there"
    raise Conflict(
        f"{request.kind} {request.name} is {known}, and not at revision {request.expected}: "
        "read it again"
    )


def _check_network(state: State, request: Put) -> None:
    if request.name != NETWORK_NAME:
        raise ValueRefused(f"config {request.name}: the only configuration is {NETWORK_NAME!r}")
    try:
        network = parse_network(request.value)
    except ConfigError as error:
        raise ValueRefused(f"net-conf.json refused: {error}") from error
    misfits = describe_misfits(network, state.holdings)
    if misfits and not request.force:
        raise ValueRefused(f"net-conf.json refused: {misfits}")
