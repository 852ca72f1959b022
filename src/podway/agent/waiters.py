"""Who waits for a pass: each gets the failures that it left, or an error, whatever happens.

In: the kernel keys that somebody asks for. Out: a future. The pass that is under way when somebody
comes does not count for him: it may have computed what he asks for before he asked.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from podway.diff.tracker import Failure
from podway.errors import PodwayError
from podway.model.kernel import Key

_Waiting: TypeAlias = list[tuple[frozenset[Key], asyncio.Future[list[Failure]]]]


class Unsettled(PodwayError):  # noqa: N818  (a state, not an accident)
    """No pass could be made; what was asked for may or may not be in the kernel."""


class Waiters:
    """Those who wait."""

    def __init__(self) -> None:
        self._waiting: _Waiting = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, keys: Iterable[Key]) -> "asyncio.Future[list[Failure]]":
        """Return what is done with the failures among *keys* after the next whole pass."""
        done: asyncio.Future[list[Failure]] = asyncio.get_running_loop().create_future()
        self._waiting.append((frozenset(keys), done))
        return done

    @contextmanager
    def taken(self) -> "Iterator[Waiters]":
        """Give those who wait now, for the length of a pass; they go on waiting if it fails."""
        taken = Waiters()
        taken._waiting, self._waiting = self._waiting, []
        try:
            yield taken
        finally:
            # None is left of a pass that was made; the agent ends, and tells all who still wait.
            self._waiting += taken._waiting

    def answer(self, failures: Mapping[Key, Failure]) -> None:
        """Give everybody what is failing of his."""
        waiting, self._waiting = self._waiting, []
        for keys, future in waiting:
            if not future.done():
                future.set_result([failures[key] for key in keys if key in failures])

    def refuse(self, error: Unsettled) -> None:
        """Give *error* to everybody."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)
