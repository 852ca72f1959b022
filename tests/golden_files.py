"""Expected texts that are too long for a table: they live in tests/golden, one file per case.

A test asks for the fixture ``golden`` and calls ``golden("compute/name.txt", text)``. To accept a
new text, run the test with ``--update-golden`` and read the difference before committing it.
"""

from difflib import unified_diff
from pathlib import Path
from typing import Protocol

GOLDEN_ROOT = Path(__file__).parent / "golden"


class Golden(Protocol):
    """What the fixture ``golden`` gives."""

    def __call__(self, name: str, text: str) -> None:
        """Fail unless *text* is what the file *name* under tests/golden holds."""


def difference(path: Path, text: str) -> str:
    """Return how *text* differs from what *path* holds; "" where it does not."""
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = unified_diff(
        expected.splitlines(keepends=True),
        text.splitlines(keepends=True),
        f"{path.relative_to(GOLDEN_ROOT)} (golden)",
        "this run",
    )
    return "".join(lines)


def update(path: Path, text: str) -> None:
    """Make *text* the content of *path*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
