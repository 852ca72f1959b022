"""When a client sends the next message, if nobody answers.

In: the state of a lease after a message was sent. Out: a time. Pure. Called by `moves` and
`replies`. RFC 2131 sections 4.1 and 4.4.5.
"""

from typing import Final

from podway.dhcp.leases import Lease
from podway.dhcp.states import Context, Phase, State

# Servers of containers are near, so the first messages follow each other quickly: the very first
# goes out when the interface is just up, and a bridge may not have noticed yet. Then as the RFC
# says.
QUICK_PAUSES_S: Final = (0.5, 1.0, 2.0, 2.0)
FIRST_PAUSE_S: Final = 4.0
JITTER_S: Final = 1.0
# An address is looked for on the link three times (RFC 5227 section 1.1), but not for as long as
# there, since an ADD waits for it.
PROBES: Final = 3
# After an address was declined, lest client and server be busy with nothing else (RFC 2131, 3.1).
DECLINE_PAUSE_S: Final = 10.0
# Between renewals half of the time that is left, and at least a minute; of a short lease an eighth.
LEAST_RENEWAL_PAUSE_S: Final = 60.0
_LEAST_SHARE: Final = 8
# Beyond that, doubling is the same as the longest pause.
_MOST_DOUBLINGS: Final = 16


def compute_wake_s(state: State, context: Context) -> float:
    """Return when to act again after a message; never after the end of phase or patience."""
    lease = state.lease
    if lease is not None and state.phase in {Phase.RENEWING, Phase.REBINDING}:
        end_s = lease.rebinding_s if state.phase is Phase.RENEWING else lease.expiry_s
        pause_s = _renewal_pause_s(lease, end_s - context.now_s)
        return max(min(context.now_s + pause_s, end_s), context.now_s)
    wake_s = context.now_s + _pause_s(state.attempt, context)
    patience_s = state.begun_s + context.patience.give_up_s
    return min(wake_s, patience_s if lease is None else lease.expiry_s)


def _pause_s(attempt: int, context: Context) -> float:
    """Return how long to wait for an answer to message number *attempt*, from 0."""
    later = attempt - len(QUICK_PAUSES_S)
    if later < 0:
        pause_s = QUICK_PAUSES_S[attempt]
    else:
        doubled_s = FIRST_PAUSE_S * 2.0 ** min(later, _MOST_DOUBLINGS)
        pause_s = min(doubled_s, context.patience.longest_pause_s)
    return pause_s + context.dice.jitter * min(JITTER_S, pause_s / 2)


def _renewal_pause_s(lease: Lease, left_s: float) -> float:
    whole_s = lease.expiry_s - lease.renewal_s
    return max(left_s / 2, min(LEAST_RENEWAL_PAUSE_S, whole_s / _LEAST_SHARE))
