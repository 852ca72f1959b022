"""Steps of a lease that time and servers alike lead to: ask anew, request, probe, rest, end. Pure.

In: a state that is about to be left. Out: the next one, and what is to be done. Called by `machine`
and by `replies`, which know when.
"""

from dataclasses import replace
from math import inf

from podway.dhcp.leases import Lease
from podway.dhcp.messages import compute_discover, compute_request
from podway.dhcp.pauses import PROBES, compute_wake_s
from podway.dhcp.states import Bound, Context, Lost, Phase, Probe, State, Step


def select(state: State, context: Context, complaint: str = "") -> Step:
    """Ask everybody for an offer, in a new exchange."""
    return discover(start_exchange(state, context, complaint), context)


def start_exchange(state: State, context: Context, complaint: str) -> State:
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


def discover(state: State, context: Context) -> Step:
    """Call for offers."""
    return _sent(state, context), (compute_discover(state, context),)


def request(state: State, context: Context) -> Step:
    """Ask for the address that is offered, or that the container has."""
    asked = replace(_sent(state, context), asked_s=context.now_s)
    return asked, (compute_request(state, context),)


def _sent(state: State, context: Context) -> State:
    wake_s = compute_wake_s(state, context)
    return replace(state, attempt=state.attempt + 1, wake_s=wake_s)


def probe(state: State, context: Context) -> Step:
    """Ask who has the address that was given; after some silence it is the container's."""
    candidate = state.candidate
    assert candidate is not None
    if state.attempt == PROBES or not context.patience.probe_s:
        return rest(state, candidate), (Bound(candidate),)
    wake_s = context.now_s + context.patience.probe_s / PROBES
    asked = replace(state, attempt=state.attempt + 1, wake_s=wake_s)
    return asked, (Probe(candidate.address),)


def rest(state: State, lease: Lease) -> State:
    """Return the state in which the container has *lease* and nothing is due."""
    return replace(
        state,
        phase=Phase.BOUND,
        wake_s=lease.renewal_s,
        lease=lease,
        candidate=None,
        offer=None,
        complaint="",
    )


def lose(state: State) -> Step:
    """End the lease: it has run out."""
    return replace(state, phase=Phase.EXPIRED, wake_s=inf, offer=None), (Lost(),)
