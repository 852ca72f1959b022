"""Which programs are to be run next: what is wanted against what was done, kept as either changes.

In: what is wanted and what was done, by name, one change at a time. Out: the names whose turn it
is. The node's program comes first and goes last; what failed waits for its time. Pure: the time is
an argument. The work for one change does not grow with the number of programs: nothing here looks
through all of them but for names that are then worked on.
"""

import heapq
from collections.abc import Iterable, Mapping

from podway.model.programs import NODE, Program


class Backlog:
    """What is wanted and what was done, and what differs.

    Args:
        done: what was done already.

    Attributes:
        sweeping: whether what was done and nobody wants is to be undone.
    """

    def __init__(self, done: Mapping[str, Program]) -> None:
        self.sweeping = False
        self._wanted: dict[str, Program] = {}
        self._done = dict(done)
        self._to_do = _Queue()
        self._to_undo = _Queue(done)

    def want(self, name: str, program: Program | None) -> bool:
        """Have *program* wanted as *name*, or nothing; return whether that is news."""
        if self._wanted.get(name) == program:
            return False
        _put(self._wanted, name, program)
        self._sort(name)
        return True

    def record(self, name: str, program: Program | None) -> None:
        """Note that *program* was done as *name*, or that what was done is undone."""
        _put(self._done, name, program)
        self._sort(name)

    def postpone(self, name: str, due: float) -> None:
        """Let what differs wait until *due*."""
        self._queue_of(name).postpone(name, due)

    def wanted(self, name: str) -> Program | None:
        """Return what is wanted as *name*."""
        return self._wanted.get(name)

    def done(self, name: str) -> Program | None:
        """Return what was done as *name*."""
        return self._done.get(name)

    def all_done(self) -> dict[str, Program]:
        """Return everything that was done, by name."""
        return dict(self._done)

    def differs(self, name: str) -> bool:
        """Tell whether something is to be done as *name*, or to be undone once it is swept."""
        return name in self._to_do or name in self._to_undo

    def due(self, now: float) -> set[str]:
        """Return the names whose turn it is: the node comes before its peers and goes after."""
        # Of all queues, also where the node is waited for: else `next_due` would be in the past.
        ready = [queue.due(now) for queue in self._queues()]
        if NODE in self._to_do:
            return {NODE} & ready[0]
        names: set[str] = set().union(*ready)
        is_last = sum(map(len, self._queues())) == 1
        return names if is_last else names - {NODE}

    def next_due(self) -> float | None:
        """Return when the first of those that wait for their time may be due, None for never."""
        times = (queue.next_due() for queue in self._queues())
        return min((time for time in times if time is not None), default=None)

    def _queues(self) -> "tuple[_Queue, ...]":
        return (self._to_do, self._to_undo) if self.sweeping else (self._to_do,)

    def _queue_of(self, name: str) -> "_Queue":
        return self._to_do if name in self._wanted else self._to_undo

    def _sort(self, name: str) -> None:
        """Have *name* in the right queue, due at once, or in none."""
        self._to_do.discard(name)
        self._to_undo.discard(name)
        if self._wanted.get(name) != self._done.get(name):
            self._queue_of(name).add(name)


class _Queue:
    """Names of which each is due at once or at some time."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._ready = set(names)
        self._due: dict[str, float] = {}
        # By time; an entry that `_due` does not bear out is void.
        self._heap: list[tuple[float, str]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._ready or name in self._due

    def __len__(self) -> int:
        return len(self._ready) + len(self._due)

    def add(self, name: str) -> None:
        """Have *name* due at once."""
        self._due.pop(name, None)
        self._ready.add(name)

    def discard(self, name: str) -> None:
        """Have *name* not here."""
        self._due.pop(name, None)
        self._ready.discard(name)

    def postpone(self, name: str, due: float) -> None:
        """Have *name* due at *due*."""
        self._ready.discard(name)
        self._due[name] = due
        heapq.heappush(self._heap, (due, name))

    def due(self, now: float) -> set[str]:
        """Return the names that are due, to be looked at only."""
        while (due := self.next_due()) is not None and due <= now:
            self.add(heapq.heappop(self._heap)[1])
        return self._ready

    def next_due(self) -> float | None:
        """Return when the next name will be due, None for never."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


def _put(programs: dict[str, Program], name: str, program: Program | None) -> None:
    if program is None:
        programs.pop(name, None)
    else:
        programs[name] = program
