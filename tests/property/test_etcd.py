"""etcd's engine, pure: what a view says depends on the keys alone, and no subnet is given twice."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.model.addresses import Family, IPNetwork
from podway.model.nodes import Claim, Node, Wish
from podway.store.etcd_keys import EtcdKeys, NodeRecord, render_record
from podway.store.etcd_messages import Compare, Event, KeyValue, TxnRequest
from podway.store.etcd_plans import plan_claim, plan_release, render_claim
from podway.store.etcd_view import EtcdView
from podway.store.protocol import ClaimRefused

KEYS = EtcdKeys("/p")
LEASES = ("10.5.1.0-24", "10.5.2.0-24", "10.5.2.0-24&fd00::-64", "nonsense")
VALUES = (
    b'{"PublicIP":"192.0.2.1","PublicIPv6":"fd01::1","BackendType":"host-gw"}',
    b'{"PublicIP":"192.0.2.2","PublicIPv6":null}',
    b"{",
)
RECORDS = tuple(
    render_record(NodeRecord(key=key, public_ip=address))
    for key in LEASES[:2]
    for address in ("192.0.2.1", "192.0.2.2")
)
CONFIGS = (
    b'{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}',
    b'{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}',
    b"nonsense",
)
PUTS = st.one_of(
    st.tuples(
        st.sampled_from([KEYS.subnets + key.encode() for key in LEASES]), st.sampled_from(VALUES)
    ),
    st.tuples(
        st.sampled_from([KEYS.nodes + name for name in (b"a", b"b")]), st.sampled_from(RECORDS)
    ),
    st.tuples(st.just(KEYS.config), st.sampled_from(CONFIGS)),
)
CHANGES = st.lists(st.tuples(PUTS, st.booleans()), max_size=20)


def events_of(changes: Sequence[tuple[tuple[bytes, bytes], bool]]) -> list[Event]:
    """Return what a watch tells of *changes*: a put, or a deletion, each at its revision."""
    return [
        Event(kv=KeyValue(key=key, value=value, mod_revision=revision))
        if is_put
        else Event(type="DELETE", kv=KeyValue(key=key, mod_revision=revision))
        for revision, ((key, value), is_put) in enumerate(changes, 2)
    ]


def final_keys(events: Sequence[Event]) -> list[KeyValue]:
    latest = {event.kv.key: event for event in events}
    return [event.kv for event in latest.values() if event.type == "PUT"]


def facts(view: EtcdView) -> object:
    return (view.nodes(), view.network, view.network_error, view.errors.keys())


@given(changes=CHANGES, again=st.lists(st.integers(0, 19)))
def test_a_view_depends_on_the_keys_alone(
    changes: list[tuple[tuple[bytes, bytes], bool]], again: list[int]
) -> None:
    """Whether they were read at once, or came one after the other, or more than once."""
    events = events_of(changes)
    walked = EtcdView(KEYS)
    for number, event in enumerate(events):
        walked.apply(event)
        if number in again:
            walked.apply(event)
    assert facts(walked) == facts(EtcdView(KEYS, final_keys(events)))


@given(changes=CHANGES)
def test_changes_name_every_node_that_changes(
    changes: list[tuple[tuple[bytes, bytes], bool]],
) -> None:
    view, heard = EtcdView(KEYS), dict[str, Node]()
    for event in events_of(changes):
        for name in view.apply(event).names:
            node = view.node(name)
            if node is None:
                heard.pop(name, None)
            else:
                heard[name] = node
        assert heard == view.nodes()


class Model:
    """etcd in memory: transactions and their conditions, as its documentation has them."""

    def __init__(self, config: bytes) -> None:
        self.revision = 2
        self.kvs = {KEYS.config: KeyValue(key=KEYS.config, value=config, mod_revision=2)}

    def view(self) -> EtcdView:
        return EtcdView(KEYS, self.kvs.values(), self.revision)

    def commit(self, txn: TxnRequest) -> bool:
        if not all(self._holds(compare) for compare in txn.compare):
            return False
        self.revision += 1
        for step in txn.success:
            if step.request_put is not None:
                put = step.request_put
                self.kvs[put.key] = KeyValue(
                    key=put.key, value=put.value, lease=put.lease, mod_revision=self.revision
                )
            elif step.request_delete_range is not None:
                self.kvs.pop(step.request_delete_range.key, None)
        return True

    def _holds(self, compare: Compare) -> bool:
        found = [kv for key, kv in self.kvs.items() if _covers(compare, key)]
        return all(_fits(compare, kv) for kv in found or [KeyValue()])


def _covers(compare: Compare, key: bytes) -> bool:
    end = compare.range_end or compare.key + b"\0"
    return compare.key <= key < end


def _fits(compare: Compare, kv: KeyValue) -> bool:
    match compare:
        case Compare(target="VERSION", result="EQUAL", version=0):
            return kv.mod_revision == 0
        case Compare(target="MOD", result="EQUAL", mod_revision=int(revision)):
            return kv.mod_revision == revision
        case Compare(target="MOD", result="LESS", mod_revision=int(revision)):
            return kv.mod_revision < revision
        case _:
            raise AssertionError(f"no such condition: {compare}")


Wished: TypeAlias = tuple[int | None, int | None, bool]


def claim(number: int, wished: Wished) -> Claim:
    ipv4, ipv6, leave = wished

    def wish(family: Family, address: str, subnet: str | None) -> Wish:
        wanted: IPNetwork | None = None if subnet is None else ip_network(subnet)
        return Wish(family=family, public_ip=ip_address(address), subnet=wanted, leave=leave)

    return Claim(
        name=f"n{number}",
        backend="host-gw",
        wishes=(
            wish(Family.IPV4, f"192.0.2.{number}", None if ipv4 is None else f"10.5.{ipv4}.0/24"),
            wish(
                Family.IPV6, f"fd01::{number:x}", None if ipv6 is None else f"fd05:0:0:{ipv6}::/64"
            ),
        ),
    )


DUAL = (
    b'{"Network":"10.5.0.0/21","EnableIPv6":true,"IPv6Network":"fd05::/61",'
    b'"Backend":{"Type":"host-gw"}}'
)
SEVERAL = (
    b'{"Network":"10.7.0.0/22","EnableIPv6":true,"IPv6Network":"fd07::/62",'
    b'"Networks":[{"Network":"10.5.0.0/21","Drain":true},"fd05::/61","10.8.0.0/21"],'
    b'"Backend":{"Type":"host-gw"}}'
)
NUMBERS = st.none() | st.integers(1, 7)
WISHES = st.tuples(NUMBERS, NUMBERS, st.booleans())
STEPS = st.lists(
    st.tuples(st.integers(1, 6), WISHES, st.sampled_from(["look", "claim", "release"])),
    max_size=30,
)


@given(conf=st.sampled_from([DUAL, SEVERAL]), steps=STEPS)
def test_no_subnet_is_given_twice_however_claims_interleave(
    conf: bytes, steps: list[tuple[int, Wished, str]]
) -> None:
    """Each node decides from what it saw last, which may be any older state of the store."""
    etcd = Model(conf)
    views = {number: etcd.view() for number in range(1, 7)}
    for number, wish, step in steps:
        match step:
            case "look":
                views[number] = etcd.view()
            case "release":
                release = plan_release(views[number], KEYS, f"n{number}")
                if release is not None:
                    etcd.commit(release)
            case _:
                try_claim(etcd, views[number], claim(number, wish))
        check_disjoint(etcd.view())


def try_claim(etcd: Model, view: EtcdView, wanted: Claim) -> None:
    try:
        plan = plan_claim(view, KEYS, wanted)
    except ClaimRefused:
        return
    txn = render_claim(KEYS, plan, 7)
    if txn is not None and etcd.commit(txn):
        assert etcd.view().node(wanted.name) == plan.node
        again = render_claim(KEYS, plan_claim(etcd.view(), KEYS, wanted), 7)
        assert again is None, "the same claim again writes nothing"


def check_disjoint(view: EtcdView) -> None:
    nodes = view.nodes().values()
    subnets = [lease.subnet for node in nodes for lease in node.leases]
    assert len(subnets) == len(set(subnets))
    assert all(len(node.leases) == 2 for node in nodes)
    held = {key.removesuffix("-64") for key in view.ipv6}
    leased = {str(s.network_address) for s in subnets if s.version == 6}
    assert leased == held


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_newest_record_names_a_lease(name: str) -> None:
    order = ["a", "b"] if name == "b" else ["b", "a"]
    kvs = [KeyValue(key=KEYS.subnets + b"10.5.1.0-24", value=VALUES[0], mod_revision=2)]
    kvs += [
        KeyValue(key=KEYS.nodes + each.encode(), value=RECORDS[0], mod_revision=number)
        for number, each in enumerate(order, 3)
    ]
    assert set(EtcdView(KEYS, kvs).nodes()) == {name}
