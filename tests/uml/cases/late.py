"""A test that fails when it runs for the first time, as one that nobody gave time does."""

import os
from pathlib import Path


def test_late() -> None:
    state = Path(os.environ["PODWAY_TEST_LATE"])
    has_run = state.exists()
    if state.parent.exists():
        state.touch()
    assert has_run
