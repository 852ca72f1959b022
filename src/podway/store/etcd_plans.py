"""From a claim to one transaction: every decision of the etcd engine, pure.

In: an `EtcdView` and what is asked for. Out: a `ClaimPlan` and the transaction that carries it out,
or an error that says why not. There is no single writer, so a transaction names all that its
decision stands on: the configuration, the node's own record and lease as they were, that nobody has
the chosen subnet, that no reservation is new. If any of that is different by now nothing is done,
and the answer holds everything as it is now, to decide anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from msgspec import Struct

from podway.compute.subnets import (
    SubnetRefused,
    check_name,
    check_reservation,
    compute_leases,
    describe_misfits,
    has_place,
)
from podway.errors import ConfigError
from podway.model.addresses import IPNetwork
from podway.model.networks import Network
from podway.model.nodes import Claim, Lease, Node
from podway.store.etcd_holdings import holdings_of, with_candidates
from podway.store.etcd_keys import EtcdKeys, NodeRecord, render_record, render_reservation
from podway.store.etcd_messages import (
    Compare,
    DeleteRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    prefix_end,
)
from podway.store.etcd_view import Entry, EtcdView
from podway.store.flannel_data import parse_net_conf, render_lease, render_subnet_key
from podway.store.protocol import ClaimRefused
from podway.store.refusals import Conflict, ValueRefused


class ClaimPlan(Struct, frozen=True, kw_only=True):
    """What a claim gives, and what has to be written for it, but for the number of an etcd lease.

    It stands on the view of one moment; views change while requests are under way.

    Attributes:
        node: as everybody will see it.
        own: its lease as it stood, None for none.
        reserved: the lease that it keeps never ends: somebody has reserved the subnet so.
        compare: what must still be so.
        puts: keys and their values.
        deletes: keys that go.
        standing: the etcd lease (0: none) with which all of it is written already, or None.
    """

    node: Node
    own: Entry | None
    reserved: bool
    compare: tuple[Compare, ...]
    puts: dict[bytes, bytes]
    deletes: tuple[bytes, ...]
    standing: int | None


def plan_claim(view: EtcdView, keys: EtcdKeys, claim: Claim, attempt: int = 0) -> ClaimPlan:
    """Return what *claim* gives; each *attempt* looks for free subnets at another place.

    Raises:
        ClaimRefused: as in the `Store` protocol.
    """
    network = _usable_network(view)
    own = find_own(view, claim, network)
    node = _granted(view, claim, network, own, attempt)
    key = render_subnet_key(node.leases)
    if own is not None and set(own.subnets) == {lease.subnet for lease in node.leases}:
        key = own.key  # as it is written there, should that be another way
    puts = _puts(keys, node, key)
    gone = _left_over(view, claim, network, own, key)
    deletes = [keys.subnets + entry.key.encode() for entry in gone]
    deletes += [held for held in _own_ipv6(view, keys, node.name) if held not in puts]
    return ClaimPlan(
        node=node,
        own=own,
        reserved=own is not None and own.key == key and own.stored.lease == 0,
        compare=(
            _unchanged(keys.config, view.revision_of(keys.config)),
            _nothing_newer(keys.reservations, view.revision),
            *(_unchanged(each, view.revision_of(each)) for each in (*puts, *deletes)),
            *_nobody_else(keys, key, gone),
        ),
        puts=puts,
        deletes=tuple(deletes),
        standing=None if deletes else _standing(view, puts),
    )


def render_claim(keys: EtcdKeys, plan: ClaimPlan, lease: int) -> TxnRequest | None:
    """Return the transaction that writes *plan* with the etcd lease *lease* (0: for good).

    None when it stands there already.
    """
    if plan.standing == lease:
        return None
    success = [
        *(_put(key, value, lease) for key, value in plan.puts.items()),
        *(_delete(key) for key in plan.deletes),
    ]
    return TxnRequest(compare=plan.compare, success=success, failure=[everything(keys)])


def _granted(
    view: EtcdView, claim: Claim, network: Network, own: Entry | None, attempt: int
) -> Node:
    """Return the node that *claim* makes. Raises ClaimRefused."""
    try:
        check_name(claim.name)
        holdings = holdings_of(view, claim.name, own)
        wished = with_candidates(network, claim, holdings, attempt)
        leases = compute_leases(network, wished, holdings)
    except SubnetRefused as error:
        raise ClaimRefused(str(error)) from error
    return Node(name=claim.name, backend=claim.backend, leases=leases)


def _puts(keys: EtcdKeys, node: Node, key: str) -> dict[bytes, bytes]:
    """Return what *node*, whose lease is at *key*, writes."""
    first = min(node.leases, key=lambda lease: lease.family)
    record = NodeRecord(key=key, public_ip=str(first.public_ip))
    puts = {
        keys.subnets + key.encode(): render_lease(node),
        keys.nodes + node.name.encode(): render_record(record),
    }
    ipv6 = [lease for lease in node.leases if lease.subnet.version == 6]
    if ipv6 and len(node.leases) > 1:
        puts[keys.ipv6 + render_subnet_key(ipv6).encode()] = node.name.encode()
    return puts


def find_own(view: EtcdView, claim: Claim, network: Network) -> Entry | None:
    """Return the lease that the node of *claim* has now: by name, else by its public address.

    A lease without a name is a flanneld's; it was this node's before podway was.
    """
    named = view.find(claim.name)
    if named is not None and named.is_named:
        return named
    found = list(_of_address(view, claim))
    return min(found, key=lambda entry: (not _fits(network, entry), entry.key), default=None)


def _of_address(view: EtcdView, claim: Claim) -> Iterator[Entry]:
    """Yield the leases without a name that have the claim's public address."""
    addresses = {wish.public_ip for wish in claim.wishes}
    for entry in view.entries.values():
        if entry.node is None or entry.is_named:
            continue
        if entry.node.leases[0].public_ip in addresses:
            yield entry


def _left_over(
    view: EtcdView, claim: Claim, network: Network, own: Entry | None, key: str
) -> list[Entry]:
    """Return the leases of the claim's node that it does not keep."""
    left = [] if own is None or own.key == key else [own]
    known = {key, *(entry.key for entry in left)}
    return left + [
        entry
        for entry in _of_address(view, claim)
        if entry.key not in known and not _fits(network, entry)
    ]


def _fits(network: Network, entry: Entry) -> bool:
    return all(has_place(network, subnet) for subnet in entry.subnets)


def _own_ipv6(view: EtcdView, keys: EtcdKeys, name: str) -> list[bytes]:
    own = name.encode()
    return [keys.ipv6 + key.encode() for key, held in view.ipv6.items() if held.value == own]


def _standing(view: EtcdView, puts: Mapping[bytes, bytes]) -> int | None:
    """Return the etcd lease with which all of *puts* stand there already, else None."""
    stored = [(view.stored(key), value) for key, value in puts.items()]
    leases = {kv.lease if kv and kv.value == value else None for kv, value in stored}
    return leases.pop() if len(leases) == 1 else None


def _nobody_else(keys: EtcdKeys, key: str, gone: Iterable[Entry]) -> Iterator[Compare]:
    """Yield the conditions that nobody else has the first subnet, alone or with another family's.

    They leave out this node's own keys, which lie among those that must not be there.
    """
    alone = key.partition("&")[0].encode()
    start, end = keys.subnets + alone, prefix_end(keys.subnets + alone)
    own = {key, *(entry.key for entry in gone)}
    for each in sorted(keys.subnets + name.encode() for name in own):
        if start <= each < end:
            if start < each:
                yield _absent(start, each)
            start = each + b"\0"
    yield _absent(start, end)


def plan_release(view: EtcdView, keys: EtcdKeys, name: str) -> TxnRequest | None:
    """Return the transaction that gives the lease of the node *name* back, None without one."""
    deletes = _own_ipv6(view, keys, name)
    entry = view.find(name)
    if entry is not None:
        deletes.append(keys.subnets + entry.key.encode())
    if name in view.records:
        deletes.append(keys.nodes + name.encode())
    return _deletion(view, keys, deletes)


def plan_reservation(
    view: EtcdView, keys: EtcdKeys, name: str, subnets: Sequence[IPNetwork]
) -> TxnRequest | None:
    """Return the transaction that keeps *subnets* for *name*, None where they are kept already.

    A public IPv4 address in place of a name is flannel's way: a lease for that address that never
    ends, which a flanneld takes, too.

    Raises:
        ClaimRefused: a subnet does not fit the network, or is another node's.
    """
    address = _as_address(name)
    own = view.find(name) if address is None else _lease_of(view, address)
    try:
        check_reservation(_usable_network(view), name, tuple(subnets), holdings_of(view, name, own))
    except SubnetRefused as error:
        raise ClaimRefused(str(error)) from error
    if address is None:
        key, value = keys.reservations + name.encode(), render_reservation(tuple(subnets))
    else:
        key, value = _flannel_reservation(keys, address, subnets)
        stored = view.stored(key)
        value = value if stored is None else stored.value  # a lease that lives shall never end
    if _standing(view, {key: value}) == 0:
        return None
    return TxnRequest(
        compare=[
            _unchanged(key, view.revision_of(key)),
            _nothing_newer(keys.reservations, view.revision),
            _nothing_newer(keys.subnets, view.revision),
        ],
        success=[_put(key, value, 0)],
        failure=[everything(keys)],
    )


def plan_unreservation(view: EtcdView, keys: EtcdKeys, name: str) -> TxnRequest | None:
    """Return the transaction that keeps nothing for *name* any more, None where nothing is kept.

    A lease that never ends is a reservation; it goes too, and a node that lives claims another.
    """
    address = _as_address(name)
    entry = view.find(name) if address is None else _lease_of(view, address)
    deletes = [keys.reservations + name.encode()] if name in view.reservations else []
    if entry is not None and not entry.stored.lease and not deletes:
        deletes.append(keys.subnets + entry.key.encode())
    return _deletion(view, keys, deletes)


def _as_address(name: str) -> IPv4Address | None:
    try:
        return IPv4Address(name)
    except ValueError:
        return None


def _lease_of(view: EtcdView, address: IPv4Address) -> Entry | None:
    for entry in view.entries.values():
        if entry.node is not None and entry.node.leases[0].public_ip == address:
            return entry
    return None


def _flannel_reservation(
    keys: EtcdKeys, address: IPv4Address, subnets: Sequence[IPNetwork]
) -> tuple[bytes, bytes]:
    if [subnet.version for subnet in subnets] != [4]:
        raise ValueRefused(
            f"reservation for the address {address}: must be one IPv4 subnet; "
            "reserve both families for a node's name"
        )
    # Of no backend, so that nobody tries to reach it before it is there.
    node = Node(name="", backend="alloc", leases=(Lease(subnet=subnets[0], public_ip=address),))
    return keys.subnets + render_subnet_key(node.leases).encode(), render_lease(node)


def plan_network(
    view: EtcdView, keys: EtcdKeys, text: str, expected: int | None, *, force: bool
) -> TxnRequest | None:
    """Return the transaction that configures the network, None where it is so already.

    Raises:
        ValueRefused: the text breaks a rule, or leases would break and *force* is not set.
        Conflict: the configuration is not at revision *expected* (0: not there).
    """
    current = view.revision_of(keys.config)
    if expected is not None and expected != current:
        known = f"at revision {current}" if current else "not there"
        raise Conflict(f"the network configuration is {known}, not at {expected}: read it again")
    try:
        network = parse_net_conf(text)
    except ConfigError as error:
        raise ValueRefused(f"net-conf.json refused: {error}") from error
    misfits = "" if force else describe_misfits(network, holdings_of(view))
    if misfits:
        raise ValueRefused(f"net-conf.json refused: {misfits}")
    if view.config is not None and view.config.value == text.encode():
        return None
    return TxnRequest(
        compare=[_unchanged(keys.config, current), _nothing_newer(keys.subnets, view.revision)],
        success=[_put(keys.config, text.encode(), 0)],
        failure=[everything(keys)],
    )


def everything(keys: EtcdKeys) -> RequestOp:
    """Return the step that reads all keys of the network."""
    return RequestOp(request_range=whole_range(keys))


def whole_range(keys: EtcdKeys) -> RangeRequest:
    """Return the request that reads all keys of the network."""
    return RangeRequest(key=keys.root, range_end=prefix_end(keys.root))


def _usable_network(view: EtcdView) -> Network:
    if view.network is not None:
        return view.network
    if view.network_error:
        raise ClaimRefused(view.network_error)
    raise ClaimRefused("no network is configured yet: `podway network apply` a net-conf.json")


def _deletion(view: EtcdView, keys: EtcdKeys, deletes: Sequence[bytes]) -> TxnRequest | None:
    """Return the transaction that deletes *deletes* as they are known; None for no keys."""
    if not deletes:
        return None
    return TxnRequest(
        compare=[_unchanged(key, view.revision_of(key)) for key in deletes],
        success=[_delete(key) for key in deletes],
        failure=[everything(keys)],
    )


def _unchanged(key: bytes, revision: int) -> Compare:
    return Compare(key=key, target="MOD", result="EQUAL", mod_revision=revision)


def _absent(start: bytes, end: bytes) -> Compare:
    return Compare(key=start, range_end=end, target="VERSION", result="EQUAL", version=0)


def _nothing_newer(prefix: bytes, revision: int) -> Compare:
    return Compare(
        key=prefix,
        range_end=prefix_end(prefix),
        target="MOD",
        result="LESS",
        mod_revision=revision + 1,
    )


def _put(key: bytes, value: bytes, lease: int) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, lease=lease))


def _delete(key: bytes) -> RequestOp:
    return RequestOp(request_delete_range=DeleteRequest(key=key))
