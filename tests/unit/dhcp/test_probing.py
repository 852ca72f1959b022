"""Whether somebody has the address that is given, and what is done if so."""

from dataclasses import replace

import pytest

from podway.dhcp.machine import step
from podway.dhcp.packets import NOWHERE, Kind
from podway.dhcp.states import (
    Began,
    Bound,
    Claimed,
    Ended,
    Failed,
    Patience,
    Phase,
    Send,
    State,
    Woke,
)
from unit.dhcp.lives import after, bound, held, kinds, probing, silence
from unit.dhcp.servers import ADDRESS, IDENTITY, OTHER_ADDRESS, SERVER, context, said


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
