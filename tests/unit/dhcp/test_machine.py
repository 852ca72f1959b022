"""The life of a lease, step by step."""

from dataclasses import replace
from ipaddress import IPv4Address
from math import inf
from typing import Any

import pytest

from podway.dhcp.leases import Lease, parse_lease
from podway.dhcp.machine import step
from podway.dhcp.packets import NOWHERE, REQUEST, Kind
from podway.dhcp.states import (
    Began,
    Bound,
    Claimed,
    Ended,
    Event,
    Failed,
    Heard,
    Lost,
    Patience,
    Phase,
    Probe,
    Rebooted,
    Send,
    State,
    Woke,
)
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
    seconds,
)

# The lease of `held()` was asked for at 0: T1 500, T2 850, expiry 1000.
RENEWAL_S, REBINDING_S, EXPIRY_S = 500.0, 850.0, 1000.0
PATIENCE_S = 10.0


def held(**changes: Any) -> Lease:
    return replace(parse_lease(said(Kind.ACK).message, None, SERVER_MAC, 0.0), **changes)


def after(*events: tuple[float, Event], state: State | None = None) -> tuple[State, list[object]]:
    """Return the state after *events* at their times, and all actions."""
    state = state or State()
    actions: list[object] = []
    for now_s, event in events:
        state, more = step(state, event, context(now_s))
        actions += more
    return state, actions


def kinds(actions: list[object]) -> list[Kind]:
    return [action.message.kind for action in actions if isinstance(action, Send)]


def probing(heard: Heard | None = None) -> State:
    """Return the state in which nobody has said yet that the address is his."""
    state, _ = after((0, Began()), (0, said(Kind.OFFER)), (0, heard or said(Kind.ACK)))
    assert state.phase is Phase.PROBING
    return state


def silence(state: State) -> tuple[State, list[object]]:
    """Return what comes of *state* if nobody has the address."""
    actions: list[object] = []
    while state.phase is Phase.PROBING:
        state, more = after((state.wake_s, Woke()), state=state)
        actions += more
    return state, actions


def bound() -> State:
    state, _ = silence(probing())
    assert state.phase is Phase.BOUND
    return state


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


def test_somebody_has_the_address() -> None:
    state, actions = after((0.2, Woke()), (0.3, Claimed(b"\2" * 6)), state=probing())
    assert kinds(actions) == [Kind.DECLINE]
    declined = actions[-1]
    assert isinstance(declined, Send)
    # RFC 2131 table 5.
    assert (declined.server, declined.message.ciaddr, declined.message.secs) == (None, NOWHERE, 0)
    assert declined.message.options == {
        61: IDENTITY.client_id, 50: ADDRESS.packed, 54: SERVER.packed,
        56: b"the address is in use",
    }  # fmt: skip
    assert (state.phase, state.lease, state.candidate) == (Phase.SELECTING, None, None)
    # RFC 2131 section 3.1 item 5: ten seconds at the least.
    assert state.wake_s == 10.3
    assert after((5, Woke()), state=state) == (state, [])
    state, (discover,) = after((10.3, Woke()), state=state)
    assert isinstance(discover, Send)
    assert (discover.message.kind, 50 in discover.message.options) == (Kind.DISCOVER, False)
    offered = said(Kind.OFFER, address=OTHER_ADDRESS)
    state, _ = after((11, offered), (11, said(Kind.ACK, address=OTHER_ADDRESS)), state=state)
    state, actions = silence(state)
    assert (state.phase, state.lease and state.lease.address) == (Phase.BOUND, OTHER_ADDRESS)
    assert isinstance(actions[-1], Bound)


def test_addresses_that_are_not_asked_for() -> None:
    around = replace(context(), patience=Patience(probe_s=0.0))
    state, _ = after((0, Began()), (0, said(Kind.OFFER)))
    state, actions = step(state, said(Kind.ACK), around)
    assert (state.phase, actions) == (Phase.BOUND, (Bound(held()),))


def test_every_address_is_somebodys() -> None:
    state = replace(probing(), begun_s=-200)
    state, _ = after((0.1, Claimed(b"\2" * 6)), state=state)
    assert state.wake_s == 8
    state, actions = after((8, Woke()), state=state)
    (failed,) = actions
    assert isinstance(failed, Failed)
    assert "10.1.0.50 is in use already, by 02:02:02:02:02:02" in failed.reason


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(after((0, Began()))[0], id="before there is an address"),
        pytest.param(bound(), id="of a container that has it"),
        pytest.param(State(phase=Phase.EXPIRED, lease=held()), id="at the end"),
    ],
)
def test_claims_that_come_too_early_or_too_late(state: State) -> None:
    assert after((1, Claimed(b"\2" * 6)), state=state) == (state, [])


def test_messages_while_probing_change_nothing() -> None:
    for kind in (Kind.OFFER, Kind.ACK, Kind.NAK):
        assert after((0.1, said(kind)), state=probing()) == (probing(), [])


def test_a_patience_that_ends_while_probing() -> None:
    """The lease is there already."""
    state, actions = silence(replace(probing(), begun_s=-300))
    assert state.phase is Phase.BOUND
    assert isinstance(actions[-1], Bound)


def test_an_address_that_is_not_wanted_any_more_is_given_back() -> None:
    state, (sent,) = after((0.3, Ended()), state=probing())
    assert isinstance(sent, Send)
    assert (state.phase, sent.message.kind, sent.server) == (Phase.RELEASED, Kind.RELEASE, SERVER)


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


def test_nothing_happens_too_early() -> None:
    assert after((RENEWAL_S - 0.1, Woke()), state=bound()) == (bound(), [])


def test_renewal() -> None:
    renewing, (sent,) = after((RENEWAL_S, Woke()), state=bound())
    assert isinstance(sent, Send)
    assert (renewing.phase, sent.server) == (Phase.RENEWING, SERVER)
    assert (sent.message.kind, sent.message.ciaddr) == (Kind.REQUEST, ADDRESS)
    # RFC 2131 table 4: neither requested address nor server.
    assert not sent.message.options.keys() & {50, 54}
    state, actions = after((RENEWAL_S + 1, said(Kind.ACK)), state=renewing)
    assert state.phase is Phase.BOUND
    assert actions == [Bound(held(renewal_s=1000, rebinding_s=1350, expiry_s=1500))]


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(said(Kind.ACK, address=OTHER_ADDRESS), id="another address"),
        pytest.param(said(Kind.ACK, options={54: OTHER_SERVER.packed}), id="another server"),
        pytest.param(said(Kind.NAK, options={54: OTHER_SERVER.packed}), id="another server's NAK"),
        pytest.param(said(Kind.ACK, options={51: seconds(0)}), id="no time"),
        pytest.param(said(Kind.OFFER), id="an offer"),
    ],
)
def test_answers_to_a_renewal_of_no_use(heard: Heard) -> None:
    renewing, _ = after((RENEWAL_S, Woke()), state=bound())
    state, actions = after((RENEWAL_S, heard), state=renewing)
    assert (state.phase, state.lease, actions) == (Phase.RENEWING, held(), [])


def test_a_server_that_is_away_until_expiry() -> None:
    state, sent_at, phases = bound(), [], []
    while state.wake_s < inf:
        now_s = state.wake_s
        state, actions = after((now_s, Woke()), state=state)
        phases.append(state.phase)
        sent_at += [now_s] * len(kinds(actions))
    assert sent_at == [500, 675, 762.5, 822.5, 850, 925, 985]
    assert phases == [*[Phase.RENEWING] * 4, *[Phase.REBINDING] * 3, Phase.EXPIRED]
    assert (now_s, actions) == (EXPIRY_S, [Lost()])


def test_a_server_that_comes_back() -> None:
    rebinding, (sent,) = after((REBINDING_S, Woke()), state=bound())
    assert isinstance(sent, Send)
    assert (rebinding.phase, sent.server, sent.message.ciaddr) == (Phase.REBINDING, None, ADDRESS)
    heard = said(Kind.ACK, options={54: OTHER_SERVER.packed})
    state, _ = after((REBINDING_S + 1, heard), state=rebinding)
    assert (state.phase, state.lease and state.lease.server) == (Phase.BOUND, OTHER_SERVER)


@pytest.mark.parametrize("due_s", [RENEWAL_S, REBINDING_S])
def test_after_a_nak_only_the_same_address_will_do(due_s: float) -> None:
    state, actions = after((due_s, Woke()), (due_s, said(Kind.NAK)), state=bound())
    assert (state.phase, state.lease) == (Phase.SELECTING, held(expiry_s=due_s + PATIENCE_S))
    state, actions = after((state.wake_s, Woke()), state=state)
    (discover,) = actions
    assert isinstance(discover, Send)
    assert discover.message.options[50] == ADDRESS.packed
    state, actions = after((due_s + 2, said(Kind.OFFER, address=OTHER_ADDRESS)), state=state)
    assert (state.phase, actions) == (Phase.SELECTING, [])
    state, actions = after((due_s + 2, said(Kind.OFFER)), (due_s + 2, said(Kind.ACK)), state=state)
    assert (state.phase, state.lease and state.lease.address) == (Phase.BOUND, ADDRESS)


@pytest.mark.parametrize(
    ("due_s", "end_s"),
    [
        pytest.param(RENEWAL_S, RENEWAL_S + PATIENCE_S, id="an answer is waited for"),
        pytest.param(EXPIRY_S - 3, EXPIRY_S, id="no longer than the lease"),
    ],
)
def test_after_a_nak_the_address_is_not_held_on_to(due_s: float, end_s: float) -> None:
    state, _ = after((due_s, Woke()), (due_s, said(Kind.NAK)), state=bound())
    sent: list[Kind] = []
    while state.wake_s < inf:
        now_s = state.wake_s
        state, actions = after((now_s, Woke()), state=state)
        sent += kinds(actions)
    assert (now_s, state.phase, actions) == (end_s, Phase.EXPIRED, [Lost()])
    assert sent
    assert set(sent) == {Kind.DISCOVER}


def test_a_second_nak_does_not_prolong() -> None:
    state, _ = after((RENEWAL_S, Woke()), (RENEWAL_S, said(Kind.NAK)), state=bound())
    events: list[tuple[float, Event]] = [
        (RENEWAL_S + 1, Woke()), (RENEWAL_S + 1, said(Kind.OFFER)), (RENEWAL_S + 2, said(Kind.NAK)),
    ]  # fmt: skip
    state, _ = after(*events, state=state)
    assert state.lease == held(expiry_s=RENEWAL_S + PATIENCE_S)


def test_a_restart() -> None:
    state, (sent,) = after((100, Rebooted()), state=State(lease=held()))
    assert isinstance(sent, Send)
    assert (state.phase, sent.server) == (Phase.REBOOTING, None)
    assert (sent.message.options[50], sent.message.ciaddr) == (ADDRESS.packed, NOWHERE)
    assert 54 not in sent.message.options
    state, actions = after((100.1, said(Kind.ACK)), state=state)
    assert actions == [Bound(held(renewal_s=600, rebinding_s=950, expiry_s=1100))]


@pytest.mark.parametrize(
    ("now_s", "phase"),
    [
        pytest.param(100.0, Phase.BOUND, id="before T1"),
        pytest.param(600.0, Phase.RENEWING, id="after T1"),
        pytest.param(900.0, Phase.REBINDING, id="after T2"),
        pytest.param(995.0, Phase.EXPIRED, id="just before the end"),
    ],
)
def test_a_restart_while_the_server_is_away(now_s: float, phase: Phase) -> None:
    state, _ = after((now_s, Rebooted()), state=State(lease=held()))
    while state.phase is Phase.REBOOTING:
        state, _ = after((state.wake_s, Woke()), state=state)
    assert state.phase is phase


def test_a_restart_after_the_end() -> None:
    state, actions = after((EXPIRY_S, Rebooted()), state=State(lease=held()))
    assert (state.phase, actions) == (Phase.EXPIRED, [Lost()])


def test_a_restart_that_is_refused() -> None:
    state, _ = after((100, Rebooted()), (100, said(Kind.NAK)), state=State(lease=held()))
    assert (state.phase, state.lease) == (Phase.SELECTING, held(expiry_s=100 + PATIENCE_S))


def test_a_lease_for_ever() -> None:
    state, _ = silence(probing(said(Kind.ACK, options={51: b"\xff" * 4})))
    assert (state.phase, state.wake_s) == (Phase.BOUND, inf)


def test_release() -> None:
    state, (sent,) = after((100, Ended()), state=bound())
    assert isinstance(sent, Send)
    assert (state.phase, state.wake_s, sent.server) == (Phase.RELEASED, inf, SERVER)
    # RFC 2131 table 5.
    assert (sent.message.kind, sent.message.ciaddr) == (Kind.RELEASE, ADDRESS)
    assert sent.message.options == {61: IDENTITY.client_id, 54: SERVER.packed}


def test_release_by_the_identifier_that_was_told() -> None:
    identity = replace(IDENTITY, provided={61: b"mine", 12: b"pod"})
    _, (sent,) = step(bound(), Ended(), context(100, identity=identity))
    assert isinstance(sent, Send)
    assert sent.message.options == {61: b"mine", 54: SERVER.packed}


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(State(), id="nothing begun"),
        pytest.param(after((0, Began()))[0], id="selecting"),
        pytest.param(State(phase=Phase.EXPIRED, lease=held()), id="expired"),
        pytest.param(replace(bound(), lease=held(expiry_s=50.0)), id="about to expire"),
    ],
)
def test_nothing_to_release(state: State) -> None:
    ended, actions = after((100, Ended()), state=state)
    assert (ended.phase, actions) == (Phase.RELEASED, [])


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.EXPIRED, Phase.RELEASED])
def test_an_end_is_the_end(phase: Phase) -> None:
    state = State(phase=phase, xid=XID, lease=held())
    for event in (Woke(), said(Kind.ACK), said(Kind.OFFER), said(Kind.NAK)):
        assert step(state, event, context(1e6)) == (state, ())


def test_the_address_is_an_address() -> None:
    assert isinstance(held().address, IPv4Address)
