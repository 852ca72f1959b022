"""Namespaces and processes for benchmarks: made here, ended here, whatever happens."""

import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import TypeVar

from podway.netlink import (
    NetlinkSocket,
    change_link,
    create_named_netns,
    delete_named_netns,
    entered,
    open_named_netns,
)
from podway.netlink.constants import IFF_UP

T = TypeVar("T")


@contextmanager
def namespace(prefix: str = "bench") -> Iterator[str]:
    """Make a named namespace with lo up; yield its name; delete it."""
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    create_named_netns(name)
    try:
        fd = open_named_netns(name)
        try:
            with NetlinkSocket(netns_fd=fd) as netlink:
                netlink.request(change_link({"index": 1, "flags": IFF_UP, "change": IFF_UP}))
        finally:
            os.close(fd)
        yield name
    finally:
        delete_named_netns(name)


def inside(name: str, call: Callable[[], T]) -> T:
    """Return what *call* returns in a thread that is in namespace *name*."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        fd = open_named_netns(name)
        try:
            with entered(fd):
                outcome.append(call())
        except BaseException as error:  # noqa: BLE001  (handed to the caller)
            failure.append(error)
        finally:
            os.close(fd)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def run(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run *command* to its end; what it printed is in the error when it fails."""
    done = subprocess.run(list(command), capture_output=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {words}")
    return done  # type: ignore[no-any-return]


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str] | None = None, netns: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Start *command* (inside *netns*), yield it, end it by its id.

    Its standard error goes to a file: a pipe that nobody reads would fill up and stop it.
    """
    with TemporaryFile() as log:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                list(command), env=environment, stdout=subprocess.DEVNULL, stderr=log
            )

        running = inside(netns, start) if netns else start()
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(timeout=10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
