"""What a test forgets is named: a namespace, a device in it or not, a process, a file."""

import subprocess
from pathlib import Path

import pytest

from left_behind import Thing, left_behind, take_inventory
from netns.conftest import new_netns


@pytest.mark.root
def test_namespace_and_its_process_are_named() -> None:
    before = take_inventory()
    with new_netns() as netns:
        process = subprocess.Popen(["nsenter", f"--net={netns.path}", "sleep", "4711"])
        try:
            left: list[str] = []
            while "process sleep 4711" not in left:
                left = left_behind(before, take_inventory())
            assert f"network namespace {Path(netns.path).name}" in left
        finally:
            process.kill()
            process.wait()
    left = left_behind(before, take_inventory())
    assert "process sleep 4711" not in left
    assert f"network namespace {Path(netns.path).name}" not in left


def test_file_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    before = take_inventory()
    path = Path("/tmp") / f"podway-{tmp_path_factory.getbasetemp().name}-forgotten"
    path.mkdir()
    try:
        assert f"file {path}" in left_behind(before, take_inventory())
    finally:
        path.rmdir()


def test_of_nested_files_the_outermost_is_named() -> None:
    names = ["/run/podway/lab", "/run/podway/lab/a", "/run/podway/lab/a/hub", "/dev/shm/x"]
    after = frozenset(Thing("file", name) for name in names)
    assert left_behind(frozenset(), after) == ["file /dev/shm/x", "file /run/podway/lab"]


def test_what_was_there_before_is_not_named() -> None:
    before = frozenset({Thing("process", "sleep 1", "10 99"), Thing("device", "eth0")})
    after = before | {Thing("process", "sleep 1", "11 99")}
    assert left_behind(before, after) == ["process sleep 1"]
