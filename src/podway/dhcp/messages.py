"""What a client sends in which state: RFC 2131 section 4.3.2 and tables 4 and 5.

In: the state of a lease, and who the client is. Out: messages. Pure. Called by `machine`, `moves`
and `replies`.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Final

from podway.dhcp.leases import Lease
from podway.dhcp.options import (
    CLIENT_ID,
    MAX_SIZE,
    PARAMETER_LIST,
    REQUESTED_ADDRESS,
    SERVER_ID,
    TEXT,
)
from podway.dhcp.packets import NOWHERE, REQUEST, Kind, Message
from podway.dhcp.states import Context, Phase, Send, State

# The largest payload of an Ethernet frame that needs no fragments.
_MAX_MESSAGE: Final = (1500 - 28).to_bytes(2, "big")
_MOST_SECS: Final = 0xFFFF


def compute_discover(state: State, context: Context) -> Send:
    """Return the call for offers; for the same address again, if the container has one."""
    lease = state.lease
    options = {REQUESTED_ADDRESS: lease.address.packed} if lease else {}
    return Send(_compute_message(state, Kind.DISCOVER, context, _told(context) | options))


def compute_request(state: State, context: Context) -> Send:
    """Return the request for an address: one that is offered, or that the container has."""
    options = _told(context)
    ciaddr = NOWHERE
    server = None
    match state:
        case State(phase=Phase.REQUESTING, offer=Message() as offer):
            options[REQUESTED_ADDRESS] = offer.yiaddr.packed
            options[SERVER_ID] = offer.options[SERVER_ID]
        case State(phase=Phase.REBOOTING, lease=Lease() as lease):
            options[REQUESTED_ADDRESS] = lease.address.packed
        case State(lease=Lease() as lease):
            ciaddr = lease.address
            server = lease.server if state.phase is Phase.RENEWING else None
        case _:
            raise AssertionError(f"nothing to request in {state.phase.name}")
    return Send(_compute_message(state, Kind.REQUEST, context, options, ciaddr), server)


def compute_decline(state: State, lease: Lease, context: Context) -> Send:
    """Return what tells the server that somebody else has the address of *lease*."""
    options = {
        CLIENT_ID: _identifier(context),
        REQUESTED_ADDRESS: lease.address.packed,
        SERVER_ID: lease.server.packed,
        TEXT: b"the address is in use",
    }
    return Send(_compute_message(state, Kind.DECLINE, context, options))


def compute_release(state: State, lease: Lease, context: Context) -> Send:
    """Return what gives *lease* back."""
    options = {CLIENT_ID: _identifier(context), SERVER_ID: lease.server.packed}
    message = _compute_message(state, Kind.RELEASE, context, options, lease.address)
    return Send(message, lease.server)


def _identifier(context: Context) -> bytes:
    return context.identity.provided.get(CLIENT_ID, context.identity.client_id)


def _told(context: Context) -> dict[int, bytes]:
    """Return what servers are told and asked."""
    identity = context.identity
    options = {CLIENT_ID: identity.client_id, MAX_SIZE: _MAX_MESSAGE, **identity.provided}
    if identity.requested:
        options[PARAMETER_LIST] = bytes(identity.requested)
    return options


def _compute_message(
    state: State,
    kind: Kind,
    context: Context,
    options: Mapping[int, bytes],
    ciaddr: IPv4Address = NOWHERE,
) -> Message:
    identity = context.identity
    return Message(
        op=REQUEST,
        kind=kind,
        xid=state.xid,
        mac=identity.mac,
        secs=max(0, min(int(context.now_s - state.since_s), _MOST_SECS)),
        # Who has an address gets unicasts.
        broadcast=identity.broadcast and ciaddr == NOWHERE,
        ciaddr=ciaddr,
        options=options,
    )
