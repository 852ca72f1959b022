"""What the machine of a lease works on: its state, what happens, what is to be done. All frozen.

`machine`, `replies` and `moves` have the transitions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address
from math import inf
from typing import Final, TypeAlias

from podway.dhcp.leases import Lease
from podway.dhcp.packets import Message


class Phase(Enum):
    """Where a lease is in its life."""

    INIT = auto()
    SELECTING = auto()
    REQUESTING = auto()
    # There is a lease, and it is seen whether somebody else has the address.
    PROBING = auto()
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
        answer_s: for the answer to a request, repetitions included (``-timeout``); and for the same
            address again after a refusal.
        longest_pause_s: between two messages (``-resendmax``).
        give_up_s: for a first lease (``-resendtimeout``).
        probe_s: for somebody who has the address that is given (``-probetime``); 0 for nobody.
    """

    answer_s: float = 10.0
    longest_pause_s: float = 62.0
    give_up_s: float = 208.0
    probe_s: float = 0.6


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
        candidate: lease that the container may get.
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
    candidate: Lease | None = None
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
class Claimed:
    """Who has the link-layer address *sender* has the address that was probed for."""

    sender: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The lease is not needed any more."""


Event: TypeAlias = Began | Rebooted | Woke | Heard | Claimed | Ended


@dataclass(frozen=True, slots=True)
class Send:
    """Send *message*: to the server at *server*, or to everybody for None."""

    message: Message
    server: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask on the link who has *address*."""

    address: IPv4Address


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
    """The lease ran out, or was refused: the container must not use its address any more."""


Action: TypeAlias = Send | Probe | Bound | Failed | Lost
Step: TypeAlias = tuple[State, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class Context:
    """What a step depends on besides state and event."""

    identity: Identity
    patience: Patience
    now_s: float
    dice: Dice
