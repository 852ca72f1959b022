"""How long each lease still lives, in hub time: seconds that the hub has been up in its whole life.

Hub time stands still while the hub is down, and knows no wall clock: neither a day without a hub
nor a clock set forward ends a lease. After a start (and after a failed write, which is treated as
one) no lease ends before a grace, so that nodes can reconnect and renew first.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from msgspec import Struct

GRACE_S = 300.0


class Term(Struct, frozen=True):
    """The lease of node *name* lives *ttl_s* after each renewal; ends at *deadline_s* of hub time.

    A *ttl_s* of 0 never ends.
    """

    name: str
    ttl_s: int
    deadline_s: float


def start_term(name: str, ttl_s: int, now_s: float) -> Term:
    """Return the term of a lease that was claimed or renewed at *now_s*."""
    return Term(name, ttl_s, now_s + ttl_s)


def with_grace(term: Term, now_s: float) -> Term:
    """Return *term*, prolonged to the grace where it would end before."""
    earliest_s = now_s + min(term.ttl_s, GRACE_S)
    return Term(term.name, term.ttl_s, max(term.deadline_s, earliest_s))


class Terms:
    """The terms of all leases; finds those that have ended without looking at the others."""

    def __init__(self, terms: Iterable[Term] = ()) -> None:
        self._terms = {term.name: term for term in terms}
        self._queue = [(term.deadline_s, term.name) for term in self._terms.values() if term.ttl_s]
        heapify(self._queue)

    def __len__(self) -> int:
        return len(self._terms)

    def get(self, name: str) -> Term | None:
        """Return the term of node *name*, or None when it has no lease."""
        return self._terms.get(name)

    def set(self, term: Term) -> None:
        """Let *term* take the place of the node's earlier one."""
        self._terms[term.name] = term
        if term.ttl_s:
            heappush(self._queue, (term.deadline_s, term.name))

    def remove(self, name: str) -> None:
        """Forget the node's term; no error when there is none."""
        self._terms.pop(name, None)

    def ended(self, now_s: float) -> tuple[str, ...]:
        """Return the nodes whose leases have ended at *now_s*, longest ago first."""
        names: dict[str, None] = {}
        while self._queue and self._queue[0][0] <= now_s:
            deadline_s, name = heappop(self._queue)
            term = self._terms.get(name)
            if term is not None and term.ttl_s and term.deadline_s == deadline_s:
                names[name] = None
        return tuple(names)
