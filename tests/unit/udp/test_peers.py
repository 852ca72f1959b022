"""The forwarding table: longest prefix, live changes, who is a peer."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.udp.peers import Peer, Peers, Prefixes

A = Peer("10.244.2.0/24", ("192.0.2.2", 8285), segments=True)
B = Peer("10.244.3.0/24", ("192.0.2.3", 8285))
B6 = Peer("fd00:10:244:3::/64", ("2001:db8::3", 8285))


# Only handed on.
SOCKETS: dict[int, Any] = {4: "IPv4", 16: "IPv6"}


def found(peers: Peers, destination: bytes) -> Peer | None:
    """Return the peer that *destination* belongs to, whose way is by the family's socket."""
    way = peers.find(destination)
    assert way is None or way.socket == SOCKETS[len(destination)]
    return None if way is None else way.peer


def packed(text: str) -> bytes:
    return ip_address(text).packed


def table(*peers: Peer) -> Peers:
    made = Peers(SOCKETS)
    for peer in peers:
        made.set(peer)
    return made


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        pytest.param("10.244.2.0", A, id="first address"),
        pytest.param("10.244.2.255", A, id="last address"),
        pytest.param("10.244.3.9", B, id="another peer"),
        pytest.param("10.244.4.1", None, id="nobody's"),
        pytest.param("fd00:10:244:3::9", B6, id="IPv6"),
        pytest.param("fd00:10:244:4::9", None, id="nobody's, IPv6"),
    ],
)
def test_find(destination: str, expected: Peer | None) -> None:
    peers = table(A, B, B6)
    assert found(peers, packed(destination)) == expected
    assert found(peers, packed(destination)) == expected, "the same when remembered"


def test_the_longest_prefix_wins() -> None:
    wide = Peer("10.244.0.0/16", ("192.0.2.9", 8285))
    peers = table(wide, A)
    assert found(peers, packed("10.244.2.1")) == A
    assert found(peers, packed("10.244.9.1")) == wide


def test_changes_count_at_once() -> None:
    peers = table(A)
    assert found(peers, packed("10.244.2.1")) == A
    moved = A._replace(where=("192.0.2.7", 8285))
    peers.set(moved)
    assert found(peers, packed("10.244.2.1")) == moved
    assert (peers.knows(A.where), peers.knows(moved.where)) == (False, True)
    peers.delete(A.prefix)
    assert found(peers, packed("10.244.2.1")) is None
    assert not peers.knows(moved.where)
    peers.delete(A.prefix)


def test_a_node_with_two_prefixes_is_known_until_both_are_gone() -> None:
    second = A._replace(prefix="10.244.7.0/24")
    peers = table(A, second)
    peers.delete(A.prefix)
    assert peers.knows(A.where)
    peers.delete(second.prefix)
    assert not peers.knows(A.where)


def test_sources_as_both_kinds_of_socket_say_them() -> None:
    peers = table(A, B6)
    assert peers.knows(("192.0.2.2", 8285))
    assert peers.knows(("2001:db8::3", 8285, 0, 0))
    assert not peers.knows(("192.0.2.2", 9999))
    assert not peers.knows(("2001:db8::4", 8285, 0, 0))


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(Peer("10.244.2.1/24", ("192.0.2.2", 1)), id="host bits"),
        pytest.param(Peer("nonsense", ("192.0.2.2", 1)), id="no prefix"),
        pytest.param(Peer("10.244.2.0/24", ("node2", 1)), id="no address"),
        pytest.param(Peer("10.244.2.0/24", ("2001:db8::1", 1)), id="two families"),
    ],
)
def test_what_is_no_peer_is_refused_whole(peer: Peer) -> None:
    peers = table(A)
    with pytest.raises(ValueError):  # noqa: PT011  (ipaddress has no type of its own)
        peers.set(peer)
    assert peers.all() == [A]


def test_a_family_without_socket_is_refused() -> None:
    with pytest.raises(ValueError, match="IPv6"):
        Peers({4: SOCKETS[4]}).set(B6)


prefixes = st.builds(
    lambda number, length: ip_network((number >> (32 - length) << (32 - length), length)),
    st.integers(0x0A000000, 0x0A00FFFF),
    st.integers(8, 32),
)


@given(
    st.lists(st.tuples(st.booleans(), prefixes), max_size=12),
    st.integers(0x0A000000, 0x0A00FFFF),
)
def test_any_history_finds_what_a_list_would(
    history: list[tuple[bool, object]], number: int
) -> None:
    peers, known = Peers(SOCKETS), {}
    destination = number.to_bytes(4, "big")
    for step, (adds, prefix) in enumerate(history):
        if adds:
            known[prefix] = Peer(str(prefix), (f"192.0.2.{step}", 8285))
            peers.set(known[prefix])
        else:
            known.pop(prefix, None)
            peers.delete(str(prefix))
        matching = [each for each in known if ip_address(destination) in each]  # type: ignore[operator]
        best = max(matching, key=lambda each: each.prefixlen, default=None)  # type: ignore[attr-defined]
        assert found(peers, destination) == (known[best] if best is not None else None)


def test_prefixes() -> None:
    own = Prefixes(["10.244.1.0/24", "fd00:10:244:1::/64"])
    assert own.contains(packed("10.244.1.255"))
    assert not own.contains(packed("10.244.2.0"))
    assert own.contains(packed("fd00:10:244:1::7"))
    assert not own.contains(packed("::a.244.1.0".replace("a", "10")))
    assert own.first == {4: packed("10.244.1.0"), 16: packed("fd00:10:244:1::")}
