"""How a lease is kept: renewal, rebinding, refusals, and a daemon that starts again."""

from math import inf

import pytest

from podway.dhcp.packets import NOWHERE, Kind
from podway.dhcp.states import Bound, Event, Heard, Lost, Phase, Rebooted, Send, State, Woke
from unit.dhcp.lives import EXPIRY_S, PATIENCE_S, REBINDING_S, RENEWAL_S, after, bound, held, kinds
from unit.dhcp.servers import ADDRESS, OTHER_ADDRESS, OTHER_SERVER, SERVER, said, seconds


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
