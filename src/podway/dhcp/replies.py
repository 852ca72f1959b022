"""What others say, and what comes of it: servers' offers, ACKs, NAKs; who has an address. Pure.

In: the state of a lease, and a message or a claim. Out: the next state, and what is to be done.
Called by `machine`.
"""

from dataclasses import replace

from podway.dhcp.errors import LeaseError
from podway.dhcp.leases import check_offer, parse_lease
from podway.dhcp.messages import compute_decline
from podway.dhcp.moves import probe, request, rest, start_exchange
from podway.dhcp.options import SERVER_ID, TEXT, read_address, read_text
from podway.dhcp.packets import REPLY, Kind, Message
from podway.dhcp.pauses import DECLINE_PAUSE_S, compute_wake_s
from podway.dhcp.states import SILENT, Bound, Claimed, Context, Heard, Phase, State, Step


def hear(state: State, event: Heard, context: Context) -> Step:
    """Take in what a server says; what is not for us, or not wanted now, changes nothing."""
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
    return request(requesting, context)


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
        return probe(probing, context)
    return rest(state, lease), (Bound(lease),)


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
    again = start_exchange(replace(state, lease=lease), context, complaint)
    return replace(again, wake_s=compute_wake_s(again, context)), ()


def _is_from_right_server(state: State, message: Message) -> bool:
    """Tell whether the server that was asked answers; where all were asked, any may."""
    server = read_address(message.options, SERVER_ID)
    if state.phase is Phase.REQUESTING and state.offer is not None:
        return server == read_address(state.offer.options, SERVER_ID)
    if state.phase is Phase.RENEWING and state.lease is not None:
        return server == state.lease.server
    return True


def decline(state: State, event: Claimed, context: Context) -> Step:
    """Tell the server that the address is somebody else's, and start over later."""
    candidate = state.candidate
    if state.phase is not Phase.PROBING or candidate is None:
        return state, ()
    complaint = f"{candidate.address} is in use already, by {event.sender.hex(':')}"
    begun = start_exchange(state, context, complaint)
    wake_s = context.now_s + DECLINE_PAUSE_S
    wake_s = max(min(wake_s, state.begun_s + context.patience.give_up_s), context.now_s)
    return replace(begun, wake_s=wake_s), (compute_decline(begun, candidate, context),)
