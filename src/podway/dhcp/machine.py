"""The life of a lease, as a pure function: state and event in, state and actions out.

Called by `client`, which has the clock, the dice, the sockets. Nothing here waits or sends::

           Began                    offer              ack
    INIT ─────────> SELECTING ───────────> REQUESTING ─────> BOUND <──────────────┐
                      ^  ^ │ too long           │ nak          │ T1               │ ack
                      │  │ v                    │              v                  │
                      │  │ FAILED   <───────────┘           RENEWING ─────────────┤
                      │  │                                     │ T2               │
                      │  └── nak: the same address again ──    v                  │
                      │                                    REBINDING ─────────────┘
    INIT ─────────> REBOOTING ── nak, ack, silence ...         │ expiry
         Rebooted                                              v
                                                            EXPIRED

Between REQUESTING and BOUND a first lease is PROBING: it is seen whether somebody else on the link
has the address. Whoever has it, the server hears of it (DECLINE), and after 10 s it starts over.

RFC 2131 sections 3 and 4.4. Two things differ from a host's client. The container's address was put
on its interface by another plugin and cannot change, so after a NAK only the same address will do;
if no server gives it within a request's patience, it is not the container's any more (the reference
plugin would take another address without telling anybody, and the container go on with the old).
And the end of a lease is the end: the interface goes down, as with the reference plugin.

Here is what comes of time and of the container's own life; `replies` has what comes of what others
say, `moves` the steps that both take.
"""

from dataclasses import replace
from math import inf

from podway.dhcp.messages import compute_release
from podway.dhcp.moves import discover, lose, probe, request, rest, select
from podway.dhcp.replies import decline, hear
from podway.dhcp.states import (
    ENDS,
    Began,
    Claimed,
    Context,
    Ended,
    Event,
    Failed,
    Heard,
    Phase,
    Rebooted,
    State,
    Step,
    Woke,
)


def step(state: State, event: Event, context: Context) -> Step:
    """Return the state after *event*, and what is to be done."""
    match event:
        case Began():
            return select(replace(state, begun_s=context.now_s), context)
        case Rebooted():
            return _reboot(state, context)
        case Woke():
            return _wake(state, context)
        case Heard():
            return hear(state, event, context)
        case Claimed():
            return decline(state, event, context)
        case Ended():
            return _end(state, context)


# -- beginnings and ends --------------------------------------------------------------------------


def _reboot(state: State, context: Context) -> Step:
    """Ask whether the lease from before still holds (RFC 2131 section 3.2)."""
    lease = state.lease
    if lease is None:
        return select(state, context)
    if context.now_s >= lease.expiry_s:
        return lose(state)
    begun = replace(
        state, phase=Phase.REBOOTING, xid=context.dice.xid, since_s=context.now_s, attempt=0
    )
    return request(begun, context)


def _end(state: State, context: Context) -> Step:
    """Give the lease back, if there is one."""
    released = replace(state, phase=Phase.RELEASED, wake_s=inf)
    lease = state.lease or state.candidate
    if state.phase in ENDS or lease is None or context.now_s >= lease.expiry_s:
        return released, ()
    return released, (compute_release(replace(state, xid=context.dice.xid), lease, context),)


# -- time -----------------------------------------------------------------------------------------


def _wake(state: State, context: Context) -> Step:
    if context.now_s < state.wake_s or state.phase in ENDS:
        return state, ()
    if state.phase is Phase.PROBING:
        return probe(state, context)
    if state.lease is None and context.now_s >= state.begun_s + context.patience.give_up_s:
        return _fail(state, context)
    return _go_on(state, context)


def _go_on(state: State, context: Context) -> Step:
    """Do what is due in a state that has not come to its end, or ends now."""
    lease = state.lease
    if lease is not None and context.now_s >= lease.expiry_s:
        return lose(state)
    match state.phase:
        case Phase.SELECTING:
            return discover(state, context)
        case Phase.REQUESTING:
            return _repeat_request(state, context)
        case Phase.REBOOTING:
            return _repeat_reboot(state, context)
        case _:
            return _prolong(state, context)


def _fail(state: State, context: Context) -> Step:
    reason = state.complaint or "no DHCP server answers"
    failed = replace(state, phase=Phase.FAILED, wake_s=inf, offer=None)
    return failed, (Failed(f"{reason} (tried for {context.patience.give_up_s:.0f} s)"),)


def _repeat_request(state: State, context: Context) -> Step:
    """Ask again for what was offered; if the server stays silent, look for another offer."""
    if context.now_s < state.since_s + context.patience.answer_s:
        return request(state, context)
    assert state.offer is not None
    return select(state, context, f"server of {state.offer.yiaddr} does not answer any more")


def _repeat_reboot(state: State, context: Context) -> Step:
    """Ask again; if nobody answers, the lease still holds (RFC 2131 section 3.2, item 4)."""
    if context.now_s < state.since_s + context.patience.answer_s:
        return request(state, context)
    assert state.lease is not None
    return _prolong(rest(state, state.lease), context)


def _prolong(state: State, context: Context) -> Step:
    """Do what is due for a lease: nothing yet, ask its server, ask any server."""
    lease = state.lease
    assert lease is not None
    if context.now_s < lease.renewal_s:
        return rest(state, lease), ()
    phase = Phase.RENEWING if context.now_s < lease.rebinding_s else Phase.REBINDING
    if phase is not state.phase:
        state = replace(state, phase=phase, xid=context.dice.xid, since_s=context.now_s, attempt=0)
    return request(state, context)
