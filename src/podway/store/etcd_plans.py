"""From a claim to one transaction: every decision on a node's lease in etcd, pure.

In: an `EtcdView` and what is asked for. Out: a `ClaimPlan` and the transaction that carries it out,
or an error that says why not. There is no single writer, so a transaction names all that its
decision stands on: the configuration, the node's own record and lease as they were, that nobody has
the chosen subnet, that no reservation is new. If any of that is different by now nothing is done,
and the answer holds everything as it is now, to decide anew.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from podway.compute.subnets import SubnetRefused, check_name, compute_leases, has_place
from podway.model.networks import Network
from podway.model.nodes import Claim, Node
from podway.store.etcd_holdings import holdings_of, with_candidates
from podway.store.etcd_keys import EtcdKeys, NodeRecord, render_record
from podway.store.etcd_messages import Compare, TxnRequest, prefix_end
from podway.store.etcd_steps import (
    absent,
    delete,
    deletion,
    everything,
    nothing_newer,
    put,
    unchanged,
)
from podway.store.etcd_view import Entry, EtcdView
from podway.store.flannel_data import render_lease, render_subnet_key
from podway.store.protocol import ClaimRefused


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
    network = view.usable_network()
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
            unchanged(keys.config, view.revision_of(keys.config)),
            nothing_newer(keys.reservations, view.revision),
            *(unchanged(each, view.revision_of(each)) for each in (*puts, *deletes)),
            *_nobody_else(keys, key, gone),
        ),
        puts=puts,
        deletes=tuple(deletes),
        standing=None if deletes else view.standing(puts),
    )


def render_claim(keys: EtcdKeys, plan: ClaimPlan, lease: int) -> TxnRequest | None:
    """Return the transaction that writes *plan* with the etcd lease *lease* (0: for good).

    None when it stands there already.
    """
    if plan.standing == lease:
        return None
    success = [
        *(put(key, value, lease) for key, value in plan.puts.items()),
        *(delete(key) for key in plan.deletes),
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


def standing(view: EtcdView, puts: Mapping[bytes, bytes]) -> int | None:
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
                yield absent(start, each)
            start = each + b"\0"
    yield absent(start, end)


def plan_release(view: EtcdView, keys: EtcdKeys, name: str) -> TxnRequest | None:
    """Return the transaction that gives the lease of the node *name* back, None without one."""
    deletes = _own_ipv6(view, keys, name)
    entry = view.find(name)
    if entry is not None:
        deletes.append(keys.subnets + entry.key.encode())
    if name in view.records:
        deletes.append(keys.nodes + name.encode())
    return deletion(view, keys, deletes)
