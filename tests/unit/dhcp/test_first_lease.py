"""How a lease comes about: offers, requests, answers of no use, and nobody who answers."""

from dataclasses import replace
from ipaddress import IPv4Address
from math import inf

import pytest

from podway.dhcp.leases import parse_lease
from podway.dhcp.machine import step
from podway.dhcp.packets import NOWHERE, REQUEST, Kind
from podway.dhcp.states import Began, Bound, Failed, Heard, Phase, Probe, Send, State, Woke
from unit.dhcp.lives import RENEWAL_S, after, bound, held, kinds, probing, silence
from unit.dhcp.servers import (
    ADDRESS,
    IDENTITY,
    MAC,
    OTHER_ADDRESS,
    OTHER_SERVER,
    SERVER,
    SERVER_MAC,
    XID,
    context,
    said,
)


def test_a_lease_comes_about() -> None:
    state, actions = after((0, Began()), (0.1, said(Kind.OFFER)), (0.2, said(Kind.ACK)))
    state, more = silence(state)
    actions += more
    assert kinds(actions) == [Kind.DISCOVER, Kind.REQUEST]
    assert [each for each in actions if isinstance(each, Probe)] == [Probe(ADDRESS)] * 3
    # From when it was asked for, not from when it came.
    expected = parse_lease(said(Kind.ACK).message, None, SERVER_MAC, 0.1)
    assert actions[-1] == Bound(expected)
    assert (state.phase, state.lease, state.wake_s) == (Phase.BOUND, expected, 500.1)


def test_what_is_sent() -> None:
    _, actions = after((0, Began()), (1.5, said(Kind.OFFER)))
    discover, request = (action for action in actions if isinstance(action, Send))
    common = {61: IDENTITY.client_id, 57: b"\x05\xc0", 12: b"pod", 55: b"\x03\x01"}
    assert discover.server is request.server is None
    assert discover.message.options == common
    assert (discover.message.op, discover.message.xid, discover.message.mac) == (REQUEST, XID, MAC)
    assert request.message.options == {**common, 50: ADDRESS.packed, 54: SERVER.packed}
    assert (request.message.xid, request.message.ciaddr) == (XID, NOWHERE)


def test_broadcast_is_asked_for_while_there_is_no_address() -> None:
    identity = replace(IDENTITY, broadcast=True)
    _, (discover,) = step(State(), Began(), context(identity=identity))
    assert isinstance(discover, Send)
    assert discover.message.broadcast
    _, (renewal,) = step(bound(), Woke(), context(RENEWAL_S, identity=identity))
    assert isinstance(renewal, Send)
    assert not renewal.message.broadcast


def test_pauses_grow() -> None:
    state, _ = after((0, Began()))
    pauses, now_s = [], 0.0
    while state.phase is Phase.SELECTING:
        pauses.append(state.wake_s - now_s)
        now_s = state.wake_s
        state, actions = step(state, Woke(), context(now_s))
    assert pauses == [0.5, 1, 2, 2, 4, 8, 16, 32, 62, 62, pytest.approx(18.5)]
    assert now_s == 208
    assert state.phase is Phase.FAILED
    (failed,) = actions
    assert isinstance(failed, Failed)


@pytest.mark.parametrize("jitter", [-1.0, 1.0])
def test_jitter_never_makes_a_pause_of_nothing(jitter: float) -> None:
    state, _ = step(State(), Began(), context(jitter=jitter))
    for _ in range(12):
        assert state.wake_s >= state.since_s + 0.25
        before_s = state.wake_s
        state, _ = step(state, Woke(), context(before_s, jitter=jitter))
        assert state.phase is Phase.FAILED or state.wake_s > before_s


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(said(Kind.OFFER, xid=XID + 1), id="of another exchange"),
        pytest.param(said(Kind.OFFER, mac=bytes(6)), id="for another client"),
        pytest.param(said(Kind.OFFER, op=REQUEST), id="of a client"),
        pytest.param(said(Kind.ACK), id="ACK that nobody asked for"),
        pytest.param(said(Kind.NAK), id="NAK that nobody asked for"),
        pytest.param(said(Kind.INFORM), id="INFORM"),
        pytest.param(said(Kind.OFFER, options={54: b""}), id="no server"),
        pytest.param(said(Kind.OFFER, options={1: b""}), id="no mask"),
        pytest.param(said(Kind.OFFER, address=NOWHERE), id="no address"),
    ],
)
def test_offers_of_no_use(heard: Heard) -> None:
    state, actions = after((0, Began()), (0, heard))
    assert state.phase is Phase.SELECTING
    assert kinds(actions) == [Kind.DISCOVER]
    state, _ = after((0.3, said(Kind.OFFER)), state=state)
    assert state.phase is Phase.REQUESTING


def test_the_reason_of_a_failure() -> None:
    state, actions = after((0, Began()), (0, said(Kind.OFFER, options={1: b""})))
    while state.phase is Phase.SELECTING:
        state, actions = after((state.wake_s, Woke()), state=state)
    (failed,) = actions
    assert isinstance(failed, Failed)
    assert "subnet mask" in failed.reason


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(said(Kind.ACK, options={54: OTHER_SERVER.packed}), id="of another server"),
        pytest.param(said(Kind.NAK, options={54: OTHER_SERVER.packed}), id="NAK of another"),
        pytest.param(said(Kind.ACK, address=OTHER_ADDRESS), id="of another address"),
        pytest.param(said(Kind.ACK, options={1: b""}), id="without mask"),
        pytest.param(said(Kind.OFFER), id="another offer"),
    ],
)
def test_answers_to_a_request_of_no_use(heard: Heard) -> None:
    requesting, _ = after((0, Began()), (0, said(Kind.OFFER)))
    state, actions = after((0, heard), state=requesting)
    assert (state.phase, actions) == (Phase.REQUESTING, [])


def test_a_nak_of_a_first_request() -> None:
    state, actions = after((0, Began()), (0, said(Kind.OFFER)), (0, said(Kind.NAK)))
    assert (state.phase, kinds(actions)) == (Phase.SELECTING, [Kind.DISCOVER, Kind.REQUEST])
    assert 0 < state.wake_s <= 1
    state, actions = after((state.wake_s, Woke()), state=state)
    assert kinds(actions) == [Kind.DISCOVER]


def test_a_server_that_offers_and_falls_silent() -> None:
    state, actions = after((0, Began()), (0, said(Kind.OFFER)))
    while state.phase is Phase.REQUESTING:
        now_s = state.wake_s
        state, more = step(state, Woke(), context(now_s, xid=XID + 1))
        actions += more
    assert kinds(actions) == [Kind.DISCOVER, *[Kind.REQUEST] * 6, Kind.DISCOVER]
    assert (state.phase, state.xid) == (Phase.SELECTING, XID + 1)
    assert now_s >= 10


def test_a_lease_for_ever() -> None:
    state, _ = silence(probing(said(Kind.ACK, options={51: b"\xff" * 4})))
    assert (state.phase, state.wake_s) == (Phase.BOUND, inf)


def test_the_address_is_an_address() -> None:
    assert isinstance(held().address, IPv4Address)
