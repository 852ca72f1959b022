"""How the life of a lease ends."""

from dataclasses import replace
from math import inf

import pytest

from podway.dhcp.machine import step
from podway.dhcp.packets import Kind
from podway.dhcp.states import Began, Ended, Phase, Send, State, Woke
from unit.dhcp.lives import after, bound, held
from unit.dhcp.servers import ADDRESS, IDENTITY, SERVER, XID, context, said


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
