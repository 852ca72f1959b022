"""What an administrator changes in etcd, reservations and the network: pure, as all plans are.

In: an `EtcdView` and what is asked for. Out: the transaction that does it, None where nothing is to
be done, or an error that says why not. As with claims (`etcd_plans`) the transaction names what its
decision stands on, and its answer holds everything where that has changed meanwhile.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address

from podway.compute.subnets import SubnetRefused, check_reservation, describe_misfits
from podway.errors import ConfigError
from podway.model.addresses import IPNetwork
from podway.model.nodes import Lease, Node
from podway.store.etcd_holdings import holdings_of
from podway.store.etcd_keys import EtcdKeys, render_reservation
from podway.store.etcd_messages import TxnRequest
from podway.store.etcd_steps import deletion, everything, nothing_newer, put, unchanged
from podway.store.etcd_view import Entry, EtcdView
from podway.store.flannel_data import parse_net_conf, render_lease, render_subnet_key
from podway.store.protocol import ClaimRefused
from podway.store.refusals import Conflict, ValueRefused


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
        check_reservation(view.usable_network(), name, tuple(subnets), holdings_of(view, name, own))
    except SubnetRefused as error:
        raise ClaimRefused(str(error)) from error
    if address is None:
        key, value = keys.reservations + name.encode(), render_reservation(tuple(subnets))
    else:
        key, value = _flannel_reservation(keys, address, subnets)
        stored = view.stored(key)
        value = value if stored is None else stored.value  # a lease that lives shall never end
    if view.standing({key: value}) == 0:
        return None
    return TxnRequest(
        compare=[
            unchanged(key, view.revision_of(key)),
            nothing_newer(keys.reservations, view.revision),
            nothing_newer(keys.subnets, view.revision),
        ],
        success=[put(key, value, 0)],
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
    return deletion(view, keys, deletes)


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
        compare=[unchanged(keys.config, current), nothing_newer(keys.subnets, view.revision)],
        success=[put(keys.config, text.encode(), 0)],
        failure=[everything(keys)],
    )
