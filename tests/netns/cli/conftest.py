"""The directories of an agent that has ended, for every test of ``podway uninstall``."""

from pathlib import Path

import pytest

from netns.cli.places import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
