"""What was lost while a lab was pinged for a while: by pair and reason, in the order of time."""

from podway.cli.output import Style
from podway.cli.steady_view import (
    LINES_SHOWN,
    Silence,
    find_silences,
    render_steady,
    steady_fields,
)
from podway.lab.steady_pings import Request

PLAIN = Style()
NAMES = {"10.244.1.2": "p1", "10.244.2.2": "p2"}


def request(source: str, target: str, moment_s: float, reason: str = "no reply") -> Request:
    return Request(0, source, target, moment_s, reason)


def test_one_silence_for_each_pair_and_reason() -> None:
    lost = [
        request("p2", "10.244.1.2", 3.5, "host unreachable"),
        request("p1", "10.244.2.2", 2.0),
        request("p2", "10.244.1.2", 1.001),
        request("p1", "10.244.2.2", 4.25),
    ]
    first, second, third = find_silences(lost, NAMES)
    assert first == Silence(
        source="p2",
        target="p1",
        address="10.244.1.2",
        lost=1,
        first_s=1.0,
        last_s=1.0,
        reason="no reply",
    )
    assert (second.source, second.lost, second.first_s, second.last_s) == ("p1", 2, 2.0, 4.25)
    assert (third.lost, third.reason) == (1, "host unreachable")


def test_nothing_lost() -> None:
    assert render_steady(1, 30.2, [], PLAIN) == ["1 ping in 30 s: none lost"]
    fields = {"seconds": 30.25, "sent": 400, "lost": 0, "silences": []}
    assert steady_fields(400, 30.251, []) == fields


def test_what_was_lost() -> None:
    lost = [request("p1", "10.244.2.2", 2.0), request("p1", "10.244.2.2", 4.25)]
    silences = find_silences(lost, NAMES)
    assert render_steady(400, 30.2, silences, PLAIN) == [
        "FROM  TO             LOST  WHEN            REASON",
        "p1    p2 10.244.2.2  2     2.00 to 4.25 s  no reply",
        "400 pings in 30 s: 2 lost, between 2.00 and 4.25 s",
    ]
    (told,) = steady_fields(400, 30.2, silences)["silences"]
    assert (told["from"], told["to"], told["lost"]) == ("p1", "p2", 2)


def test_a_long_table_is_cut_and_says_so() -> None:
    names = {f"10.244.1.{number}": f"p{number}" for number in range(LINES_SHOWN + 5)}
    lost = [request("x", address, 1.0) for address in names]
    lines = render_steady(999, 2.0, find_silences(lost, names), PLAIN)
    assert len(lines) == 1 + LINES_SHOWN + 2
    assert lines[-2] == "... and 5 more (--json has them all)"
    assert lines[-1].startswith(f"999 pings in 2 s: {LINES_SHOWN + 5} lost")
