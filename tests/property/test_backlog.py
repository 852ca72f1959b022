"""The backlog of programs says at any time what looking through all of them would say."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from podway.agent.backlog import Backlog
from podway.model.programs import NODE, Program

NAMES = st.sampled_from([NODE, "peer/a", "peer/b", "peer/c"])
PROGRAMS = st.none() | st.builds(
    lambda word: Program(name="x", do=(word,)), st.sampled_from(["one", "two"])
)
STEPS = st.one_of(
    st.tuples(st.just("want"), NAMES, PROGRAMS),
    st.tuples(st.just("record"), NAMES, PROGRAMS),
    st.tuples(st.just("postpone"), NAMES, st.integers(1, 5)),
    st.tuples(st.just("sweep"), st.booleans(), st.none()),
    st.tuples(st.just("later"), st.integers(0, 3), st.none()),
)


@dataclass
class Naive:
    """Looks through everything, each time."""

    done: dict[str, Program]
    wanted: dict[str, Program] = field(default_factory=dict)
    due_at: dict[str, float] = field(default_factory=dict)
    sweeping: bool = False

    def _differing(self) -> set[str]:
        return {
            name
            for name in {*self.wanted, *self.done}
            if self.wanted.get(name) != self.done.get(name)
            and (name in self.wanted or self.sweeping)
        }

    def due(self, now: float) -> set[str]:
        different = self._differing()
        chosen = different - {NODE} or different
        if NODE in different and NODE in self.wanted:
            chosen = {NODE}
        return {name for name in chosen if self.due_at.get(name, now) <= now}

    def set(self, programs: dict[str, Program], name: str, program: Program | None) -> None:
        programs.pop(name, None)
        if program is not None:
            programs[name] = program
        self.due_at.pop(name, None)


@given(done=st.dictionaries(NAMES, PROGRAMS.filter(bool)), steps=st.lists(STEPS, max_size=30))
def test_it_says_what_looking_through_all_would(
    done: dict[str, Program], steps: list[tuple[str, Any, Any]]
) -> None:
    backlog, naive, now = Backlog(done), Naive(dict(done)), 0
    for step, subject, value in steps:
        match step:
            case "want":
                if backlog.want(subject, value):
                    naive.set(naive.wanted, subject, value)
            case "record":
                backlog.record(subject, value)
                naive.set(naive.done, subject, value)
            case "postpone":
                if backlog.differs(subject):
                    backlog.postpone(subject, now + value)
                    naive.due_at[subject] = now + value
            case "sweep":
                backlog.sweeping = naive.sweeping = subject
            case _:
                now += subject
        assert backlog.due(now) == naive.due(now)
        for later in range(now + 1, now + 6):
            if naive.due(later) - naive.due(now):
                due = backlog.next_due()
                assert due is not None, "who waits would not wake"
                assert due <= later
                break
