"""The machine in small: what is written there is nowhere else, and goes with it."""

import os
from pathlib import Path

import pytest

from netns.clients import machine as machines
from netns.conftest import MakeNetns


@pytest.mark.root
def test_where_a_runtime_was_never_used_nothing_of_it_is_left(
    make_netns: MakeNetns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(f"/run/podway-machine-{os.getpid()}")
    monkeypatch.setattr(machines, "PRIVATE", (*machines.PRIVATE, str(directory)))
    before = [path.exists() for path in map(Path, machines.PRIVATE)]
    assert not before[-1]
    with machines.new_machine(make_netns(), tmp_path) as made:
        made.run("touch", directory / "written")
        assert made.files(directory) == [str(directory / "written")]
        assert list(directory.iterdir()) == []
    assert [path.exists() for path in map(Path, machines.PRIVATE)] == before
