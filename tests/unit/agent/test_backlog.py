"""Whose turn it is among programs; and that the work for a change does not grow with their number.

Nothing here looks at a clock: what is counted are the steps of the interpreter.
"""

import math
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from podway.agent.backlog import Backlog
from podway.model.programs import NODE, Program, peer_program_name

SIZES = (100, 1000)
NOW = 1000.0


def program(name: str, word: str = "") -> Program:
    return Program(name=name, do=("do", word))


def peers(count: int) -> list[Program]:
    return [program(peer_program_name(str(number))) for number in range(count)]


def carry_out(backlog: Backlog, now: float = NOW) -> None:
    """Do what is due, once."""
    for name in backlog.due(now):
        backlog.record(name, backlog.wanted(name))


def test_the_node_comes_first_and_goes_last() -> None:
    backlog = Backlog({})
    backlog.sweeping = True
    for name in ("peer/a", "peer/b", NODE):
        backlog.want(name, program(name))
    assert backlog.due(NOW) == {NODE}
    carry_out(backlog)
    assert backlog.due(NOW) == {"peer/a", "peer/b"}
    carry_out(backlog)
    assert backlog.due(NOW) == set()
    for name in ("peer/a", "peer/b", NODE):
        backlog.want(name, None)
    assert backlog.due(NOW) == {"peer/a", "peer/b"}
    backlog.record("peer/a", None)
    backlog.postpone("peer/b", NOW + 1)
    assert backlog.due(NOW) == set(), "a peer is still there"
    backlog.record("peer/b", None)
    assert backlog.due(NOW) == {NODE}


def test_peers_wait_for_a_node_that_waits_for_its_time() -> None:
    backlog = Backlog({})
    for name in ("peer/a", NODE):
        backlog.want(name, program(name))
    backlog.postpone(NODE, NOW + 1)
    assert (backlog.due(NOW), backlog.next_due()) == (set(), NOW + 1)
    assert backlog.due(NOW + 1) == {NODE}


def test_whose_time_has_come_while_the_node_is_waited_for_wakes_nobody() -> None:
    backlog = Backlog({"peer/a": program("peer/a"), "peer/b": program("peer/b")})
    backlog.sweeping = True
    for name in ("peer/c", NODE):
        backlog.want(name, program(name))
    for name, due in (("peer/a", 1), ("peer/c", 2), (NODE, 60)):
        backlog.postpone(name, NOW + due)
    assert (backlog.due(NOW + 3), backlog.next_due()) == (set(), NOW + 60)
    assert backlog.due(NOW + 60) == {NODE}
    backlog.record(NODE, program(NODE))
    assert backlog.due(NOW + 60) == {"peer/a", "peer/b", "peer/c"}


def test_what_failed_is_due_at_its_time_or_when_it_changes() -> None:
    backlog = Backlog({})
    for name, due in (("peer/a", NOW + 2), ("peer/b", NOW + 1)):
        backlog.want(name, program(name))
        backlog.postpone(name, due)
    assert (backlog.due(NOW), backlog.next_due()) == (set(), NOW + 1)
    assert backlog.want("peer/a", program("peer/a", "other"))
    assert (backlog.due(NOW), backlog.next_due()) == ({"peer/a"}, NOW + 1)
    assert backlog.due(math.inf) == {"peer/a", "peer/b"}
    assert backlog.next_due() is None


def test_nothing_is_undone_unless_it_is_swept() -> None:
    backlog = Backlog({"peer/a": program("peer/a"), "peer/b": program("peer/b")})
    backlog.want("peer/b", program("peer/b"))
    backlog.postpone("peer/a", NOW)
    assert (backlog.due(NOW), backlog.next_due()) == (set(), None)
    backlog.sweeping = True
    assert backlog.due(NOW) == {"peer/a"}
    backlog.sweeping = False
    assert backlog.due(NOW) == set()


def test_what_is_wanted_again_as_it_was_done_is_no_work() -> None:
    backlog = Backlog({"peer/a": program("peer/a")})
    assert backlog.want("peer/a", program("peer/a", "other"))
    assert backlog.differs("peer/a")
    assert backlog.want("peer/a", program("peer/a"))
    assert not backlog.want("peer/a", program("peer/a"))
    assert not backlog.differs("peer/a")
    assert backlog.due(NOW) == set()


def steps_of(action: Callable[[], object]) -> int:
    """Return how many steps the interpreter takes for *action*, C functions' calls among them."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(None)
    return count


def settled(count: int) -> Backlog:
    """Return a backlog of *count* peers, all of them done."""
    backlog = Backlog({each.name: each for each in peers(count)})
    backlog.sweeping = True
    for each in peers(count):
        backlog.want(each.name, each)
    return backlog


def failing(count: int) -> Backlog:
    """Return one whose peers' programs all failed, but the first one's."""
    backlog = settled(count)
    for each in peers(count)[1:]:
        backlog.want(each.name, program(each.name, "failing"))
        backlog.postpone(each.name, NOW + 60)
    return backlog


def before_the_list(count: int) -> Backlog:
    """Return one as it is after a start: all is done, and nobody knows yet what is wanted."""
    backlog = Backlog({each.name: each for each in peers(count)})
    backlog.want("peer/0", program("peer/0"))
    return backlog


def change(backlog: Backlog) -> None:
    backlog.want("peer/0", program("peer/0", "other"))
    carry_out(backlog)
    backlog.next_due()


def fail(backlog: Backlog) -> None:
    backlog.want("peer/0", program("peer/0", "failing"))
    for name in backlog.due(NOW):
        backlog.postpone(name, NOW + 30)
    backlog.next_due()
    carry_out(backlog, NOW + 30)


def drop(backlog: Backlog) -> None:
    backlog.want("peer/0", None)
    carry_out(backlog)


@pytest.mark.parametrize("act", [change, fail, drop])
@pytest.mark.parametrize("start", [settled, failing, before_the_list])
def test_the_work_for_a_change_does_not_grow_with_the_programs(
    start: Callable[[int], Backlog], act: Callable[[Backlog], None]
) -> None:
    few, many = (start(size) for size in SIZES)
    steps = steps_of(lambda: act(few))
    assert steps > 50, "they are counted"
    assert steps_of(lambda: act(many)) == steps
