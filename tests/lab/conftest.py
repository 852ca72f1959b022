"""Labs for tests: uniquely named, and gone afterwards, which is checked."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podway.lab.labs import bring_up
from podway.lab.names import LABS_DIR, NETNS_DIR, namespace_of
from podway.lab.progress import silent
from podway.lab.teardown import take_down
from podway.lab.topology import LabSpec

PODWAY = (sys.executable, "-m", "podway.cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("root")
            item.add_marker("lab")


@pytest.fixture
def lab_name() -> Iterator[str]:
    """Give the name of a lab that does not exist; whatever stands there later is removed."""
    name = f"t{secrets.token_hex(4)}"
    yield name
    take_down(name, silent)
    assert leftovers(name) == []


@pytest.fixture
def make_lab(lab_name: str) -> Callable[..., LabSpec]:
    """Give a function that brings the test's lab up; two nodes unless told otherwise."""

    def make(**fields: Any) -> LabSpec:
        spec = LabSpec(**{"name": lab_name, "nodes": (1, 2), **fields})
        bring_up(spec, silent)
        return spec

    return make


def leftovers(name: str) -> list[str]:
    """Return all that there is of the lab *name*: found without the code under test."""
    namespaces = [path.name for path in NETNS_DIR.glob(f"{namespace_of(name, '')}*")]
    files = [str(path) for path in LABS_DIR.glob(f"{name}*")]
    mark = f"{LABS_DIR / name}/".encode()
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mark in command:
            processes.append(f"{path.parent.name} {command!r}")
    return [*namespaces, *files, *processes]


def run_podway(name: str, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ``podway lab --name NAME *words*`` as a user does."""
    command = [*PODWAY, "lab", "--name", name, *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def podway_json(name: str, *words: str) -> Any:
    """Run the same with ``--json``, which must succeed; return what it prints."""
    done = run_podway(name, *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def eventually(what: str, holds: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Wait until *holds*; fail after *timeout_s*, which is generous: it bounds, it measures not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not after {timeout_s} s: {what}")
        time.sleep(0.02)
