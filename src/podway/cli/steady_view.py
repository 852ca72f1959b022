"""What ``podway lab ping --for`` prints: who was not answered, how often, and when. Pure.

In: the requests that nobody answered. Out: one line for each pair and reason; "when" is counted
from the first ping, so that it can be laid beside what was done to the lab meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from podway.cli.output import Style, plural, render_table
from podway.lab.steady_pings import Request

LINES_SHOWN = 20


class Silence(Struct, frozen=True, kw_only=True):
    """Pings of one pair that were not answered for one reason.

    Attributes:
        source: who pinged.
        target: who was pinged.
        address: the target's, which tells the family.
        lost: how many.
        first_s: when the first of them was sent, in seconds from the beginning.
        last_s: when the last one was.
        reason: why there is no answer.
    """

    source: str
    target: str
    address: str
    lost: int
    first_s: float
    last_s: float
    reason: str


def find_silences(unanswered: Iterable[Request], names: Mapping[str, str]) -> list[Silence]:
    """Return what was not answered by pair and reason, the earliest first.

    Args:
        unanswered: requests.
        names: who has an address.
    """
    groups: dict[tuple[str, str, str], list[float]] = {}
    for each in unanswered:
        groups.setdefault((each.source, each.target, each.reason), []).append(each.moment_s)
    silences = [
        Silence(
            source=source,
            target=names[address],
            address=address,
            lost=len(moments),
            first_s=round(min(moments), 2),
            last_s=round(max(moments), 2),
            reason=reason,
        )
        for (source, address, reason), moments in groups.items()
    ]
    return sorted(silences, key=lambda each: (each.first_s, each.source, each.address))


def steady_fields(sent: int, seconds: float, silences: Sequence[Silence]) -> dict[str, Any]:
    """Return the whole for JSON."""
    return {
        "seconds": round(seconds, 2),
        "sent": sent,
        "lost": _lost(silences),
        "silences": [
            {"from": fields.pop("source"), "to": fields.pop("target"), **fields}
            for fields in map(asdict, silences)
        ],
    }


def render_steady(
    sent: int, seconds: float, silences: Sequence[Silence], style: Style
) -> list[str]:
    """Return the whole for people."""
    total = f"{plural(sent, 'ping')} in {seconds:.0f} s"
    if not silences:
        return [f"{total}: {style.good('none lost')}"]
    first, last = min(each.first_s for each in silences), max(each.last_s for each in silences)
    when = f"between {first:.2f} and {last:.2f} s"
    rows = [
        (
            each.source,
            f"{each.target} {each.address}",
            str(each.lost),
            f"{each.first_s:.2f} to {each.last_s:.2f} s",
            each.reason,
        )
        for each in silences[:LINES_SHOWN]
    ]
    table = render_table(("FROM", "TO", "LOST", "WHEN", "REASON"), rows, style)
    left = len(silences) - len(rows)
    more = [f"... and {left} more (--json has them all)"] if left else []
    return [*table, *more, f"{total}: {style.bad(f'{_lost(silences)} lost')}, {when}"]


def _lost(silences: Iterable[Silence]) -> int:
    return sum(each.lost for each in silences)
