"""One table of cluster states, many ways to walk through it (Felix's expanders).

What a kernel holds has to depend on the state of the cluster alone. So a case is a list of states,
each with what the kernel shall hold, and any walk that visits them is a test: backwards, by way of
the empty cluster, with the words in another order, one word at a time, all at once, and with an
agent that is killed and started between any two steps.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from podway.diff.claims import Source
from podway.model.kernel import KernelObject

# What every source wants; one that is missing wants nothing.
Parts = Mapping[Source, Sequence[KernelObject]]


@dataclass(frozen=True)
class State:
    """A state of the cluster: what its sources want, and the lines that the kernel then shows."""

    parts: Parts
    lines: frozenset[str]


@dataclass(frozen=True)
class Step:
    """Words that are said before the kernel is brought up to date; None leaves it unchecked."""

    words: tuple[tuple[Source, Sequence[KernelObject]], ...]
    lines: frozenset[str] | None


@dataclass(frozen=True)
class Walk:
    """A way through the states of a case.

    Attributes:
        name: what was done to the states, for people.
        steps: in this order.
        restarts: a new agent begins with every step.
    """

    name: str
    steps: tuple[Step, ...]
    restarts: bool


def walks(states: Sequence[State], empty: State) -> Iterator[Walk]:
    """Yield every walk through *states*; *empty* is the cluster with nobody else in it."""
    choices = (
        ("forwards", "backwards"),
        ("", "by way of the empty cluster"),
        ("", "words reversed"),
        ("", "word by word", "all at once"),
        ("", "restarts"),
    )
    for chosen in itertools.product(*choices):
        direction, way, order, grain, agent = chosen
        visited = list(states if direction == "forwards" else reversed(states))
        if way:
            visited = [state for each in visited for state in (each, empty)]
        steps = list(_steps(visited))
        if order:
            steps = [Step(step.words[::-1], step.lines) for step in steps]
        if grain == "word by word":
            steps = [part for step in steps for part in _split(step)]
        elif grain:
            steps = [_squashed(steps)]
        name = ", ".join(word for word in chosen if word)
        yield Walk(name, tuple(steps), restarts=bool(agent))


def _steps(states: Sequence[State]) -> Iterator[Step]:
    """Yield, for each state, what changes from the one before it."""
    before: Parts = {}
    for state in states:
        sources = sorted(before.keys() | state.parts.keys())
        changed = [
            (source, state.parts.get(source, ()))
            for source in sources
            if tuple(before.get(source, ())) != tuple(state.parts.get(source, ()))
        ]
        yield Step(tuple(changed), state.lines)
        before = state.parts


def _split(step: Step) -> Iterator[Step]:
    *first, last = step.words or [None]
    for word in first:
        assert word is not None
        yield Step((word,), None)
    yield Step((last,) if last is not None else (), step.lines)


def _squashed(steps: Sequence[Step]) -> Step:
    return Step(tuple(word for step in steps for word in step.words), steps[-1].lines)
