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

RFC 2131 sections 3 and 4.4. Two things differ from a host's client. The container's address was put
on its interface by another plugin and cannot change, so after a NAK only the same address will do,
until the lease expires (the reference plugin would take another address without telling anybody).
And an expired lease is the end: the interface goes down, as with the reference plugin.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from ipaddress import IPv4Address
from math import inf
from typing import Final, TypeAlias

from podway.dhcp.errors import LeaseError
from podway.dhcp.leases import Lease, check_offer, parse_lease
from podway.dhcp.options import (
    CLIENT_ID,
    MAX_SIZE,
    PARAMETER_LIST,
    REQUESTED_ADDRESS,
    SERVER_ID,
    TEXT,
    read_address,
    read_text,
)
from podway.dhcp.packets import NOWHERE, REPLY, REQUEST, Kind, Message

# Servers of containers are near, so the first messages follow each other quickly: the very first
# goes out when the interface is just up, and a bridge may not have noticed yet. Then as RFC 2131
# section 4.1 says.
QUICK_PAUSES_S: Final = (0.5, 1.0, 2.0, 2.0)
FIRST_PAUSE_S: Final = 4.0
JITTER_S: Final = 1.0
# RFC 2131 section 4.4.5: between renewals half of the time that is left, and at least a minute; of
# a short lease an eighth.
LEAST_RENEWAL_PAUSE_S: Final = 60.0
_LEAST_SHARE: Final = 8
# The largest payload of an Ethernet frame that needs no fragments.
_MAX_MESSAGE: Final = (1500 - 28).to_bytes(2, "big")
_MOST_SECS: Final = 0xFFFF


class Phase(Enum):
    """Where a lease is in its life."""

    INIT = auto()
    SELECTING = auto()
    REQUESTING = auto()
    REBOOTING = auto()
    BOUND = auto()
    RENEWING = auto()
    REBINDING = auto()
    # The ends: no lease came about; the lease ran out; it was given back.
    FAILED = auto()
    EXPIRED = auto()
    RELEASED = auto()


ENDS: Final = frozenset({Phase.FAILED, Phase.EXPIRED, Phase.RELEASED})
# In these there is nothing to hear.
SILENT: Final = ENDS | {Phase.INIT, Phase.BOUND}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what.

    Attributes:
        answer_s: for the answer to a request, repetitions included (``-timeout``).
        longest_pause_s: between two messages (``-resendmax``).
        give_up_s: for a first lease (``-resendtimeout``).
    """

    answer_s: float = 10.0
    longest_pause_s: float = 62.0
    give_up_s: float = 208.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is to servers, and what it tells and asks them.

    Attributes:
        mac: of the interface.
        client_id: option 61.
        requested: option 55.
        provided: further options.
        broadcast: servers are to answer by broadcast.
    """

    mac: bytes
    client_id: bytes
    requested: tuple[int, ...]
    provided: Mapping[int, bytes]
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Everything about one lease.

    Attributes:
        phase: where it is in its life.
        xid: of the exchange under way.
        begun_s: when the first lease was wanted.
        since_s: when the exchange under way began.
        asked_s: when the last request was sent: from then on a lease counts.
        attempt: messages sent in this phase.
        wake_s: when to send `Woke`; `inf` for never.
        offer: that is being requested.
        lease: that the container has.
        complaint: why what servers said was of no use, "" for nothing said.
    """

    phase: Phase = Phase.INIT
    xid: int = 0
    begun_s: float = 0.0
    since_s: float = 0.0
    asked_s: float = 0.0
    attempt: int = 0
    wake_s: float = inf
    offer: Message | None = None
    lease: Lease | None = None
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class Dice:
    """What is left to chance in one step.

    Attributes:
        xid: a fresh transaction number.
        jitter: -1 to 1: shorter or longer pauses.
    """

    xid: int
    jitter: float


@dataclass(frozen=True, slots=True)
class Began:
    """A lease is wanted."""


@dataclass(frozen=True, slots=True)
class Rebooted:
    """The daemon started again; the state has a lease that it may still have."""


@dataclass(frozen=True, slots=True)
class Woke:
    """`State.wake_s` has come."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message came, from the link-layer address *sender*."""

    message: Message
    sender: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The lease is not needed any more."""


Event: TypeAlias = Began | Rebooted | Woke | Heard | Ended


@dataclass(frozen=True, slots=True)
class Send:
    """Send *message*: to the server at *server*, or to everybody for None."""

    message: Message
    server: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """There is a lease, or it lasts longer."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no lease and there will be none."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease ran out: the container must not use its address any more."""


Action: TypeAlias = Send | Bound | Failed | Lost
Step: TypeAlias = tuple[State, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class Context:
    """What a step depends on besides state and event."""

    identity: Identity
    patience: Patience
    now_s: float
    dice: Dice


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
        case Ended():
            return _end(state, context)


# -- beginnings and ends ----------------------------------------------------------------------


def _select(state: State, context: Context, complaint: str = "") -> Step:
    """Ask everybody for an offer, in a new exchange."""
    begun = replace(
        state,
        phase=Phase.SELECTING,
        xid=context.dice.xid,
        since_s=context.now_s,
        attempt=0,
        offer=None,
        complaint=complaint or state.complaint,
    )
    return _discover(begun, context)


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
    lease = state.lease
    if state.phase in ENDS or lease is None or context.now_s >= lease.expiry_s:
        return released, ()
    options = {SERVER_ID: lease.server.packed}
    message = _message(
        replace(state, xid=context.dice.xid), Kind.RELEASE, context, options, lease.address
    )
    return released, (Send(message, lease.server),)


def _lose(state: State) -> Step:
    return replace(state, phase=Phase.EXPIRED, wake_s=inf, offer=None), (Lost(),)


# -- time -------------------------------------------------------------------------------------


def _wake(state: State, context: Context) -> Step:
    if context.now_s < state.wake_s or state.phase in ENDS:
        return state, ()
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
        state, phase=Phase.BOUND, wake_s=lease.renewal_s, lease=lease, offer=None, complaint=""
    )


# -- what servers say -------------------------------------------------------------------------


def _hear(state: State, event: Heard, context: Context) -> Step:
    message = event.message
    is_ours = (message.op, message.xid, message.mac) == (REPLY, state.xid, context.identity.mac)
    if not is_ours or state.phase in SILENT:
        return state, ()
    if state.phase is Phase.SELECTING:
        return _consider(state, message, context)
    if message.kind is Kind.ACK:
        return _bind(state, event)
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


def _bind(state: State, event: Heard) -> Step:
    if not _is_from_right_server(state, event.message):
        return state, ()
    wanted = state.lease.address if state.lease else None
    if state.offer is not None:
        wanted = state.offer.yiaddr
    try:
        lease = parse_lease(event.message, wanted, event.sender, state.asked_s)
    except LeaseError as error:
        return replace(state, complaint=str(error)), ()
    return _rest(state, lease), (Bound(lease),)


def _start_over(state: State, message: Message, context: Context) -> Step:
    """After a NAK, look for an offer again; not at once, or two servers could keep us busy."""
    if not _is_from_right_server(state, message):
        return state, ()
    text = read_text(message.options, TEXT)
    complaint = f"a server refused the request{f': {text!r}' if text else ''}"
    pause_s = _pause_s(state.attempt, context)
    return replace(
        state,
        phase=Phase.SELECTING,
        xid=context.dice.xid,
        since_s=context.now_s,
        attempt=0,
        offer=None,
        complaint=complaint,
        wake_s=_not_after_end(state, context.now_s + pause_s, context),
    ), ()


def _is_from_right_server(state: State, message: Message) -> bool:
    """Tell whether the server that was asked answers; where all were asked, any may."""
    server = read_address(message.options, SERVER_ID)
    if state.phase is Phase.REQUESTING and state.offer is not None:
        return server == read_address(state.offer.options, SERVER_ID)
    if state.phase is Phase.RENEWING and state.lease is not None:
        return server == state.lease.server
    return True


# -- messages ---------------------------------------------------------------------------------


def _discover(state: State, context: Context) -> Step:
    options = dict(_wish(state))
    message = _message(state, Kind.DISCOVER, context, options)
    return _sent(state, context), (Send(message),)


def _wish(state: State) -> Mapping[int, bytes]:
    """Return option 50 for an address that the container has already."""
    return {REQUESTED_ADDRESS: state.lease.address.packed} if state.lease else {}


def _request(state: State, context: Context) -> Step:
    """Ask for an address, by the table in RFC 2131 section 4.3.2."""
    options: dict[int, bytes] = {}
    ciaddr = NOWHERE
    server = None
    match state:
        case State(phase=Phase.REQUESTING, offer=Message() as offer):
            options = {
                REQUESTED_ADDRESS: offer.yiaddr.packed,
                SERVER_ID: offer.options[SERVER_ID],
            }
        case State(phase=Phase.REBOOTING, lease=Lease() as lease):
            options = {REQUESTED_ADDRESS: lease.address.packed}
        case State(lease=Lease() as lease):
            ciaddr = lease.address
            server = lease.server if state.phase is Phase.RENEWING else None
        case _:
            raise AssertionError(f"nothing to request in {state.phase.name}")
    message = _message(state, Kind.REQUEST, context, options, ciaddr)
    return replace(_sent(state, context), asked_s=context.now_s), (Send(message, server),)


def _message(
    state: State,
    kind: Kind,
    context: Context,
    options: Mapping[int, bytes],
    ciaddr: IPv4Address = NOWHERE,
) -> Message:
    identity = context.identity
    everywhere: dict[int, bytes] = {CLIENT_ID: identity.client_id}
    if kind is not Kind.RELEASE:
        everywhere |= {MAX_SIZE: _MAX_MESSAGE, **identity.provided}
        if identity.requested:
            everywhere[PARAMETER_LIST] = bytes(identity.requested)
    elif CLIENT_ID in identity.provided:
        everywhere[CLIENT_ID] = identity.provided[CLIENT_ID]
    return Message(
        op=REQUEST,
        kind=kind,
        xid=state.xid,
        mac=identity.mac,
        secs=max(0, min(int(context.now_s - state.since_s), _MOST_SECS)),
        # Who has an address gets unicasts.
        broadcast=identity.broadcast and ciaddr == NOWHERE,
        ciaddr=ciaddr,
        options={**everywhere, **options},
    )


def _sent(state: State, context: Context) -> State:
    """Return the state after one more message: it wakes when the next one is due."""
    pause_s = _pause_s(state.attempt, context)
    lease = state.lease
    if lease is not None and state.phase in {Phase.RENEWING, Phase.REBINDING}:
        end_s = lease.rebinding_s if state.phase is Phase.RENEWING else lease.expiry_s
        pause_s = _renewal_pause_s(lease, end_s - context.now_s)
    wake_s = _not_after_end(state, context.now_s + pause_s, context)
    return replace(state, attempt=state.attempt + 1, wake_s=wake_s)


def _not_after_end(state: State, wake_s: float, context: Context) -> float:
    """Return *wake_s*, or the end of a phase or of all patience if that is sooner."""
    lease = state.lease
    if lease is None:
        return min(wake_s, state.begun_s + context.patience.give_up_s)
    if state.phase is Phase.RENEWING:
        return min(wake_s, max(lease.rebinding_s, context.now_s))
    return min(wake_s, lease.expiry_s)


def _pause_s(attempt: int, context: Context) -> float:
    """Return how long to wait for an answer to message number *attempt*, from 0."""
    later = attempt - len(QUICK_PAUSES_S)
    if later < 0:
        pause_s = QUICK_PAUSES_S[attempt]
    else:
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(later, 16), context.patience.longest_pause_s)
    return pause_s + context.dice.jitter * min(JITTER_S, pause_s / 2)


def _renewal_pause_s(lease: Lease, left_s: float) -> float:
    whole_s = lease.expiry_s - lease.renewal_s
    return max(left_s / 2, min(LEAST_RENEWAL_PAUSE_S, whole_s / _LEAST_SHARE))
