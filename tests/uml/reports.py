"""What a stage of ``make test`` tells the driver: ``kernel_features`` writes, ``run`` reads."""

from pathlib import Path

import msgspec


class StageReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a session of pytest went.

    Attributes:
        kernel: release of the kernel it ran on.
        is_second: it ran what was left to User Mode Linux.
        ran: how many tests came to their end, skipped ones too.
        featured: how many it chose that need kernel features that were there.
        lacking: how many it skipped because a kernel feature was not there.
        outcomes: pytest's own numbers by its own words (passed, failed, error, skipped, ...).
        skipped: how many tests were skipped for which reason.
        failures: the tests that failed, or failed around, by node id; one for each time.
        deferred: the tests left to the second stage, by node id.
        paths: the arguments of the call that name files or tests.
        is_stopped: it ended early because it was told to (-x, --maxfail, --collect-only).
    """

    kernel: str
    is_second: bool
    ran: int
    featured: int
    lacking: int
    outcomes: dict[str, int]
    skipped: dict[str, int]
    failures: tuple[str, ...]
    deferred: tuple[str, ...]
    paths: tuple[str, ...]
    is_stopped: bool

    @property
    def passed(self) -> int:
        """Tests that passed."""
        return self.outcomes.get("passed", 0) + self.outcomes.get("xpassed", 0)

    @property
    def failed(self) -> int:
        """Tests that failed, and errors around tests."""
        return self.outcomes.get("failed", 0) + self.outcomes.get("error", 0)


def write_report(path: Path, report: StageReport) -> None:
    """Write *report* as JSON."""
    path.write_bytes(msgspec.json.encode(report))


def write_whole(path: Path, text: str) -> None:
    """Write *text* so that who waits for the file finds all of it or nothing."""
    begun = path.with_name(f"{path.name}.begun")
    begun.write_text(text)
    begun.rename(path)


def read_report(path: Path) -> StageReport | None:
    """Read a report; None when the session ended before it could write one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=StageReport)
    except FileNotFoundError:
        return None
