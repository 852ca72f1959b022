"""Leases in the states in which tests of the machine begin, and what becomes of them."""

from dataclasses import replace
from typing import Any

from podway.dhcp.leases import Lease, parse_lease
from podway.dhcp.machine import step
from podway.dhcp.packets import Kind
from podway.dhcp.states import Began, Event, Heard, Phase, Send, State, Woke
from unit.dhcp.servers import SERVER_MAC, context, said

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
