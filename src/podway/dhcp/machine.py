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
"""

from dataclasses import replace
from math import inf

from podway.dhcp.errors import LeaseError
from podway.dhcp.leases import Lease, check_offer, parse_lease
from podway.dhcp.messages import (
    compute_decline,
    compute_discover,
    compute_release,
    compute_request,
)
from podway.dhcp.options import SERVER_ID, TEXT, read_address, read_text
from podway.dhcp.packets import REPLY, Kind, Message
from podway.dhcp.pauses import DECLINE_PAUSE_S, PROBES, compute_wake_s
from podway.dhcp.states import (
    ENDS,
    SILENT,
    Began,
    Bound,
    Claimed,
    Context,
    Ended,
    Event,
    Failed,
    Heard,
    Lost,
    Phase,
    Probe,
    Rebooted,
    State,
    Step,
    Woke,
)


def step(state: State, event: Event, context: Context) -> Step:
    """Return the state after *event*, and what is to be done."""
    match event:
        case Began():
            return _select(replace(state, begun_s=context.now_s), context)
        case Rebooted():
            return _reboot(state, context)
        case Woke():
            return _wake(state, context)
        case Heard():
            return _hear(state, event, context)
        case Claimed():
            return _decline(state, event, context)
        case Ended():
            return _end(state, context)


# -- beginnings and ends ----------------------------------------------------------------------


def _select(state: State, context: Context, complaint: str = "") -> Step:
    """Ask everybody for an offer, in a new exchange."""
    return _discover(_start_exchange(state, context, complaint), context)


def _start_exchange(state: State, context: Context, complaint: str) -> State:
    """Return the state in which offers are wanted, and nothing has been said yet."""
    return replace(
        state,
        phase=Phase.SELECTING,
        xid=context.dice.xid,
        since_s=context.now_s,
        attempt=0,
        offer=None,
        candidate=None,
        complaint=complaint or state.complaint,
    )


def _reboot(state: State, context: Context) -> Step:
    """Ask whether the lease from before still holds (RFC 2131 section 3.2)."""
    lease = state.lease
    if lease is None:
        return _select(state, context)
    if context.now_s >= lease.expiry_s:
        return _lose(state)
    begun = replace(
        state, phase=Phase.REBOOTING, xid=context.dice.xid, since_s=context.now_s, attempt=0
    )
    return _request(begun, context)


def _end(state: State, context: Context) -> Step:
    """Give the lease back, if there is one."""
    released = replace(state, phase=Phase.RELEASED, wake_s=inf)
    lease = state.lease or state.candidate
    if state.phase in ENDS or lease is None or context.now_s >= lease.expiry_s:
        return released, ()
    return released, (compute_release(replace(state, xid=context.dice.xid), lease, context),)


def _lose(state: State) -> Step:
    return replace(state, phase=Phase.EXPIRED, wake_s=inf, offer=None), (Lost(),)


# -- time -------------------------------------------------------------------------------------


def _wake(state: State, context: Context) -> Step:
    if context.now_s < state.wake_s or state.phase in ENDS:
        return state, ()
    if state.phase is Phase.PROBING:
        return _probe(state, context)
    if state.lease is None and context.now_s >= state.begun_s + context.patience.give_up_s:
        return _fail(state, context)
    return _go_on(state, context)


def _go_on(state: State, context: Context) -> Step:
    """Do what is due in a state that has not come to its end, or ends now."""
    lease = state.lease
    if lease is not None and context.now_s >= lease.expiry_s:
        return _lose(state)
    match state.phase:
        case Phase.SELECTING:
            return _discover(state, context)
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
        return _request(state, context)
    assert state.offer is not None
    return _select(state, context, f"server of {state.offer.yiaddr} does not answer any more")


def _repeat_reboot(state: State, context: Context) -> Step:
    """Ask again; if nobody answers, the lease still holds (RFC 2131 section 3.2, item 4)."""
    if context.now_s < state.since_s + context.patience.answer_s:
        return _request(state, context)
    assert state.lease is not None
    return _prolong(_rest(state, state.lease), context)


def _prolong(state: State, context: Context) -> Step:
    """Do what is due for a lease: nothing yet, ask its server, ask any server."""
    lease = state.lease
    assert lease is not None
    if context.now_s < lease.renewal_s:
        return _rest(state, lease), ()
    phase = Phase.RENEWING if context.now_s < lease.rebinding_s else Phase.REBINDING
    if phase is not state.phase:
        state = replace(state, phase=phase, xid=context.dice.xid, since_s=context.now_s, attempt=0)
    return _request(state, context)


def _rest(state: State, lease: Lease) -> State:
    return replace(
        state,
        phase=Phase.BOUND,
        wake_s=lease.renewal_s,
        lease=lease,
        candidate=None,
        offer=None,
        complaint="",
    )


def _probe(state: State, context: Context) -> Step:
    """Ask who has the address that was given; after some silence it is the container's."""
    candidate = state.candidate
    assert candidate is not None
    if state.attempt == PROBES or not context.patience.probe_s:
        return _rest(state, candidate), (Bound(candidate),)
    wake_s = context.now_s + context.patience.probe_s / PROBES
    asked = replace(state, attempt=state.attempt + 1, wake_s=wake_s)
    return asked, (Probe(candidate.address),)


def _decline(state: State, event: Claimed, context: Context) -> Step:
    """Tell the server that the address is somebody else's, and start over later."""
    candidate = state.candidate
    if state.phase is not Phase.PROBING or candidate is None:
        return state, ()
    complaint = f"{candidate.address} is in use already, by {event.sender.hex(':')}"
    begun = _start_exchange(state, context, complaint)
    wake_s = context.now_s + DECLINE_PAUSE_S
    wake_s = max(min(wake_s, state.begun_s + context.patience.give_up_s), context.now_s)
    return replace(begun, wake_s=wake_s), (compute_decline(begun, candidate, context),)


# -- what servers say -------------------------------------------------------------------------


def _hear(state: State, event: Heard, context: Context) -> Step:
    message = event.message
    is_ours = (message.op, message.xid, message.mac) == (REPLY, state.xid, context.identity.mac)
    if not is_ours or state.phase in SILENT or state.phase is Phase.PROBING:
        return state, ()
    if state.phase is Phase.SELECTING:
        return _consider(state, message, context)
    if message.kind is Kind.ACK:
        return _bind(state, event, context)
    if message.kind is Kind.NAK:
        return _start_over(state, message, context)
    return state, ()


def _consider(state: State, message: Message, context: Context) -> Step:
    """Request the first offer that is of use."""
    if message.kind is not Kind.OFFER:
        return state, ()
    try:
        check_offer(message, state.lease.address if state.lease else None)
    except LeaseError as error:
        return replace(state, complaint=str(error)), ()
    requesting = replace(
        state, phase=Phase.REQUESTING, offer=message, since_s=context.now_s, attempt=0
    )
    return _request(requesting, context)


def _bind(state: State, event: Heard, context: Context) -> Step:
    if not _is_from_right_server(state, event.message):
        return state, ()
    wanted = state.lease.address if state.lease else None
    if state.offer is not None:
        wanted = state.offer.yiaddr
    try:
        lease = parse_lease(event.message, wanted, event.sender, state.asked_s)
    except LeaseError as error:
        return replace(state, complaint=str(error)), ()
    if state.lease is None:
        probing = replace(state, phase=Phase.PROBING, candidate=lease, offer=None, attempt=0)
        return _probe(probing, context)
    return _rest(state, lease), (Bound(lease),)


def _start_over(state: State, message: Message, context: Context) -> Step:
    """After a NAK, look for an offer again; not at once, or two servers could keep us busy.

    The address that the container has is not its own any more (RFC 2131 section 4.4.5) unless it is
    given again: an answer is waited for once more.
    """
    if not _is_from_right_server(state, message):
        return state, ()
    lease = state.lease
    if lease is not None:
        end_s = context.now_s + context.patience.answer_s
        lease = replace(lease, expiry_s=min(lease.expiry_s, end_s))
    text = read_text(message.options, TEXT)
    complaint = f"a server refused the request{f': {text!r}' if text else ''}"
    again = _start_exchange(replace(state, lease=lease), context, complaint)
    return replace(again, wake_s=compute_wake_s(again, context)), ()


def _is_from_right_server(state: State, message: Message) -> bool:
    """Tell whether the server that was asked answers; where all were asked, any may."""
    server = read_address(message.options, SERVER_ID)
    if state.phase is Phase.REQUESTING and state.offer is not None:
        return server == read_address(state.offer.options, SERVER_ID)
    if state.phase is Phase.RENEWING and state.lease is not None:
        return server == state.lease.server
    return True


# -- what the client says ---------------------------------------------------------------------


def _discover(state: State, context: Context) -> Step:
    return _sent(state, context), (compute_discover(state, context),)


def _request(state: State, context: Context) -> Step:
    asked = replace(_sent(state, context), asked_s=context.now_s)
    return asked, (compute_request(state, context),)


def _sent(state: State, context: Context) -> State:
    wake_s = compute_wake_s(state, context)
    return replace(state, attempt=state.attempt + 1, wake_s=wake_s)
