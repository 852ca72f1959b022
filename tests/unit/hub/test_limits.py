"""When a client of the hub is overdue, by moments alone."""

import pytest

from podway.hub.limits import Limits, Times
from podway.store.refusals import Code

LIMITS = Limits(handshake_s=5.0, frame_s=10.0, stall_s=30.0, heartbeat_s=10.0)


def silent() -> Times:
    return Times(100.0)


def in_a_frame() -> Times:
    times = silent()
    times.hear(100.0, completed=False, unfinished=True)
    times.hear(109.0, completed=False, unfinished=True)  # a byte more makes it no younger
    return times


def in_the_next_frame() -> Times:
    times = in_a_frame()
    times.hear(109.0, completed=True, unfinished=True)
    return times


def reading_nothing() -> Times:
    times = silent()
    times.paused_since_s = 100.0
    return times


def reading_again() -> Times:
    times = reading_nothing()
    times.resume(129.0)
    return times


@pytest.mark.parametrize(
    ("times", "greeted", "last_s", "code"),
    [
        pytest.param(silent(), False, 105.0, Code.PROTOCOL, id="no hello"),
        pytest.param(silent(), True, 130.0, Code.PROTOCOL, id="silent"),
        pytest.param(in_a_frame(), True, 110.0, Code.PROTOCOL, id="byte by byte"),
        pytest.param(in_the_next_frame(), True, 119.0, Code.PROTOCOL, id="the next frame"),
        pytest.param(reading_nothing(), True, 130.0, Code.SLOW, id="reads nothing"),
        pytest.param(reading_again(), True, 159.0, Code.PROTOCOL, id="silent after reading again"),
    ],
)
def test_overdue(times: Times, greeted: bool, last_s: float, code: Code) -> None:  # noqa: FBT001
    assert times.overdue(last_s, LIMITS, greeted=greeted) is None
    overdue = times.overdue(last_s + 0.001, LIMITS, greeted=greeted)
    assert overdue is not None
    assert overdue[0] is code


def test_a_ping_is_due_before_the_other_side_misses_it() -> None:
    times = silent()
    assert not times.is_ping_due(108.9, LIMITS)
    assert times.is_ping_due(109.0, LIMITS)
    times.paused_since_s = 105.0
    assert not times.is_ping_due(109.0, LIMITS)
