"""Results as values, as a table on the terminal, and as docs/benchmarks.md."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number against what it should reach.

    Attributes:
        section: heading under which it is printed.
        what: measured thing, in words.
        value: as printed, with unit.
        reach: as printed; "" where a number is only reported.
        reached: None where nothing was promised.
        note: how it was measured, or what bounds it.
    """

    section: str
    what: str
    value: str
    reach: str = ""
    reached: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Times:
    """Durations of one thing, in seconds."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    @property
    def total(self) -> float:
        return sum(self.values)

    def __str__(self) -> str:
        return f"{self.median * 1e3:.1f} / {self.p99 * 1e3:.1f} ms"


def at_most(  # noqa: PLR0917  (as a row reads)
    section: str, what: str, value: float, limit: float, unit: str, note: str = ""
) -> Row:
    """Return a row for a number that should be *limit* or less."""
    row = Row(section=section, what=what, value=_amount(value, unit, ".3g"), note=note)
    return replace(row, reach=f"<= {_amount(limit, unit)}", reached=value <= limit)


def at_least(  # noqa: PLR0917  (as a row reads)
    section: str, what: str, value: float, limit: float, unit: str, note: str = ""
) -> Row:
    """Return a row for a number that should be *limit* or more."""
    row = Row(section=section, what=what, value=_amount(value, unit, ".3g"), note=note)
    return replace(row, reach=f">= {_amount(limit, unit)}", reached=value >= limit)


def _amount(number: float, unit: str, spelling: str = "g") -> str:
    return f"{number:{spelling}} {unit}".rstrip()


def render(rows: Iterable[Row]) -> str:
    """Return *rows* as Markdown tables, one per section."""
    lines: list[str] = []
    section = None
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", f"## {section}", "", "| What | Measured | Reach | | Note |"]
            lines.append("|---|---|---|---|---|")
        mark = {True: "reached", False: "**missed**", None: ""}[row.reached]
        lines.append(f"| {row.what} | {row.value} | {row.reach} | {mark} | {row.note} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Return the machine in one line."""
    cores = os.cpu_count()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return (
        f"{cores} cores ({model}), {memory_gib:.0f} GiB, Linux {platform.release()}, {system}, "
        f"Python {platform.python_version()}"
    )


def write(rows: Sequence[Row]) -> None:
    """Replace docs/benchmarks.md."""
    day = datetime.now(UTC).date()
    head = (
        "# Benchmarks\n\n"
        f"Taken by `make bench` on {day}, on {machine()}.\n\n"
        "Everything is paired: podway and what it is compared with run in turn, in one run, on the "
        "same\nmachine. Times are median / p99. The machine is a shared virtual one: quote ratios, "
        "not seconds.\n"
    )
    DOCUMENT.write_text(head + render(rows))
