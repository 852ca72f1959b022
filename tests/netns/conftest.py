"""Network namespaces for tests, and the witnesses that tell what is in them.

Every test here needs root. A namespace has a random name, is made with iproute2 (not with the code
under test), has its loopback up, and is deleted whatever happens. The test's own thread never
moves: `ip -n`, `nsenter`, or a socket opened in the namespace reach inside.
"""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

# Modules with assertions that are no tests; told before any of them is imported.
pytest.register_assert_rewrite("netns.kernel.worlds", "netns.udp.worlds")

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Netns:
    """One namespace: its name for `ip -n`, its path, and an open descriptor.

    Attributes:
        name: as `ip netns` shows it.
        path: the bind mount under /run/netns.
        fd: open for as long as the test runs.
    """

    name: str
    path: str
    fd: int

    def ip(self, *arguments: str) -> str:
        """Run `ip -n NAME ...` and return what it prints; CalledProcessError if it fails."""
        return run("ip", "-n", self.name, *arguments)

    def exec(self, *argv: str) -> str:
        """Run a program inside and return what it prints; CalledProcessError if it fails."""
        return run("nsenter", f"--net={self.path}", *argv)


MakeNetns: TypeAlias = Callable[[], Netns]
ReadJson: TypeAlias = Callable[..., list[dict[str, Any]]]


def run(*argv: str) -> str:
    """Run a program and return its output; its stderr stands in the error when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
        error.add_note(done.stderr)
        raise error
    return done.stdout


@contextmanager
def new_netns() -> Iterator[Netns]:
    """Make a namespace with its loopback up, and delete it afterwards."""
    name = f"pwtest-{uuid.uuid4().hex[:12]}"
    run("ip", "netns", "add", name)
    try:
        path = f"/run/netns/{name}"
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            run("ip", "-n", name, "link", "set", "lo", "up")
            yield Netns(name, path, fd)
        finally:
            os.close(fd)
    finally:
        run("ip", "netns", "delete", name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test below this directory: it needs root."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.root)


@pytest.fixture
def make_netns() -> Iterator[MakeNetns]:
    """Return a function that makes one more namespace; all are deleted after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(new_netns())


@pytest.fixture
def netns(make_netns: MakeNetns) -> Netns:
    """Return a namespace of the test's own."""
    return make_netns()


@pytest.fixture
def ip_json() -> ReadJson:
    """Return ``read(netns, *arguments)``: what `ip -j -d ...` says in there."""

    def read(netns: Netns, *arguments: str) -> list[dict[str, Any]]:
        return _parse(netns.ip("-j", "-d", *arguments))

    return read


@pytest.fixture
def bridge_json() -> ReadJson:
    """Return ``read(netns, *arguments)``: what `bridge -j -d ...` says in there."""

    def read(netns: Netns, *arguments: str) -> list[dict[str, Any]]:
        return _parse(run("bridge", "-n", netns.name, "-j", "-d", *arguments))

    return read


@pytest.fixture
def nft_json() -> ReadJson:
    """Return ``read(netns, *arguments)``: the objects that `nft -j ...` lists in there."""

    def read(netns: Netns, *arguments: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(netns.exec("nft", "-j", *arguments))["nftables"]
        return [item for item in listed if "metainfo" not in item]

    return read


def _parse(text: str) -> list[dict[str, Any]]:
    """Return the objects in iproute2's output; it prints empty ones for what a filter hides."""
    return [item for item in json.loads(text or "[]") if item]
