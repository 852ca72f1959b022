"""The store's news, in any order and merging, lead to one state and one mark per node."""

import sys
from ipaddress import ip_network
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.agent.cluster import Cluster
from podway.model.addresses import prefix_contains
from podway.model.nodes import Node
from podway.store.protocol import Change, Delta, Snapshot
from unit.agent.values import network, node

NAMES = ("a", "b", "c", "d")


def snapshot(*nodes: Node, revision: int = 1) -> Snapshot:
    return Snapshot(revision=revision, network=network(), nodes=nodes)


def delta(*changes: Change, revision: int = 2) -> Delta:
    return Delta(revision=revision, changes=changes)


def test_a_snapshot_replaces_everything() -> None:
    cluster = Cluster()
    cluster.recall(network(backend="vxlan"), {"a": node("a"), "gone": node("gone")})
    assert (cluster.complete, cluster.take_dirty()) == (False, {"a", "gone"})
    assert cluster.hear(snapshot(node("a"), node("b"))) == {"gone", "b"}
    assert cluster.complete
    assert set(cluster.nodes) == {"a", "b"}
    assert cluster.take_dirty() == {"gone", "b"}
    assert cluster.take_dirty() == set()


def test_the_same_again_is_no_change() -> None:
    cluster = Cluster()
    cluster.hear(snapshot(node("a")))
    cluster.take_dirty()
    assert cluster.hear(delta(Change("a", node("a")), Change("never", None))) == set()
    assert cluster.hear(snapshot(node("a"), revision=9)) == set()
    assert cluster.take_dirty() == set()
    assert cluster.revision == 9


def test_marks_stay_until_they_are_taken() -> None:
    """While a node has no lease nobody takes marks; later news must not hide earlier ones."""
    cluster = Cluster()
    cluster.hear(snapshot(node("a"), node("b")))
    cluster.hear(delta(Change("b", None)))
    assert cluster.hear(delta(Change("a", node("a", "10.244.7.0/24")))) == {"a"}
    assert cluster.take_dirty() == {"a", "b"}


def test_a_network_that_cannot_be_used_leaves_the_last_one() -> None:
    cluster = Cluster()
    cluster.hear(snapshot(node("a")))
    cluster.hear(Delta(revision=2, network_error="Backend.VNI = 0: must be 1 to 16777215"))
    assert cluster.network == network()
    assert cluster.network_error
    cluster.hear(delta(Change("b", node("b")), revision=3))
    assert cluster.network_error
    cluster.hear(Delta(revision=4, network=network(attach="routed")))
    assert (cluster.network, cluster.network_error) == (network(attach="routed"), "")


_VALUES = st.one_of(st.none(), st.sampled_from(["10.244.1.0/24", "10.244.2.0/24"]))
_HISTORY = st.lists(st.tuples(st.sampled_from(NAMES), _VALUES), max_size=20)


def _change(name: str, subnet: str | None) -> Change:
    return Change(name, None if subnet is None else node(name, subnet))


@given(history=_HISTORY, cuts=st.sets(st.integers(0, 20)), whole_at=st.integers(0, 20))
def test_any_split_merge_or_snapshot_leads_to_the_same(
    history: list[tuple[str, str | None]], cuts: set[int], whole_at: int
) -> None:
    one_by_one, in_parts = Cluster(), Cluster()
    for cluster in (one_by_one, in_parts):
        cluster.hear(snapshot())
    for name, subnet in history:
        one_by_one.hear(delta(_change(name, subnet)))
    marks: set[str] = set()
    state: dict[str, Node] = {}
    part: dict[str, Change] = {}
    for number, (name, subnet) in enumerate(history):
        change = _change(name, subnet)
        part[name] = change  # an engine may merge: the last value counts
        state.update({name: change.node} if change.node else {})
        if change.node is None:
            state.pop(name, None)
        if number == whole_at:
            marks |= in_parts.hear(snapshot(*state.values()))
            part.clear()
        elif number in cuts:
            marks |= in_parts.hear(delta(*reversed(part.values())))
            part.clear()
    marks |= in_parts.hear(delta(*part.values()))
    assert in_parts.nodes == one_by_one.nodes == state
    assert marks == in_parts.take_dirty()
    assert marks >= state.keys()


def at(name: str, number: int) -> Node:
    return node(name, f"10.244.{number}.0/24", f"192.0.2.{number}")


def rewound(*nodes: Node) -> Snapshot:
    return Snapshot(revision=1, network=network(), nodes=nodes, rewound=True)


def test_nodes_that_a_rewound_store_lacks_are_kept() -> None:
    cluster = Cluster()
    cluster.hear(snapshot(at("a", 1), at("b", 2), at("c", 3)))
    cluster.take_dirty()
    assert cluster.hear(rewound(at("a", 1))) == set()
    assert (set(cluster.nodes), cluster.missing) == ({"a", "b", "c"}, {"b", "c"})
    assert cluster.hear(delta(Change("b", at("b", 2)))) == set()
    assert cluster.missing == {"c"}
    assert cluster.forget_missing() == {"c"}
    assert (set(cluster.nodes), cluster.missing) == ({"a", "b"}, set())
    assert cluster.take_dirty() == {"c"}


def test_a_missing_node_yields_to_whoever_has_its_subnet() -> None:
    cluster = Cluster()
    cluster.hear(snapshot(at("b", 2), at("c", 3)))
    cluster.hear(rewound(at("new", 2)))
    assert (set(cluster.nodes), cluster.missing) == ({"new", "c"}, {"c"})
    assert cluster.hear(delta(Change("other", at("other", 3)))) == {"other", "c"}
    assert (set(cluster.nodes), cluster.missing) == ({"new", "other"}, set())


def test_a_whole_list_ends_the_waiting() -> None:
    cluster = Cluster()
    cluster.hear(snapshot(at("a", 1), at("b", 2)))
    cluster.hear(rewound())
    assert cluster.hear(snapshot(at("a", 1))) == {"b"}
    assert cluster.missing == set()


SUBNETS = st.builds(
    lambda number, length: str(ip_network((0x0AF40000 + (number << 6), length), strict=False)),
    st.integers(0, 15),
    st.integers(22, 26),
)
NODES = st.lists(st.tuples(SUBNETS, st.integers(1, 30)), max_size=6)


def at_odds(one: Node, other: Node) -> bool:
    (mine,), (theirs,) = one.leases, other.leases
    return (
        mine.public_ip == theirs.public_ip
        or prefix_contains(mine.subnet, theirs.subnet)
        or prefix_contains(theirs.subnet, mine.subnet)
    )


@given(NODES, NODES)
def test_missing_nodes_are_those_with_which_nobody_is_at_odds(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    old, new = (
        [node(f"{word}{n}", subnet, f"192.0.2.{ip}") for n, (subnet, ip) in enumerate(pairs)]
        for word, pairs in (("old", before), ("new", after))
    )
    kept = {each.name for each in old if not any(at_odds(each, other) for other in new)}
    for heard in (rewound(*new), delta(*(Change(each.name, each) for each in new))):
        cluster = Cluster()
        cluster.hear(snapshot(*old))
        if isinstance(heard, Delta):
            cluster.hear(rewound())
        cluster.hear(heard)
        assert cluster.missing == kept


@pytest.mark.parametrize("lost", [2, 1], ids=["half of all nodes", "all nodes"])
def test_a_rewound_store_costs_each_node_once(lost: int) -> None:
    """Nothing looks at a clock: what is counted are calls."""

    def calls(size: int) -> int:
        nodes = [
            node(f"n{n}", f"10.{n >> 8}.{n & 255}.0/24", f"192.0.{n >> 8}.{n & 255}")
            for n in range(size)
        ]
        cluster, count = Cluster(), 0
        cluster.hear(snapshot(*nodes))

        def profile(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(profile)
        try:
            cluster.hear(rewound(*nodes[: size - size // lost]))
        finally:
            sys.setprofile(None)
        assert len(cluster.missing) == size // lost
        return count

    assert calls(400) < 6 * calls(100)
