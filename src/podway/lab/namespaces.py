"""The namespaces of labs: made, entered, listed, and what their kernels hold.

Everything is done from outside, by descriptor; the calling thread is home again afterwards.
"""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from podway.diff.operations import Operation, Verb
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import Kernel
from podway.lab.interrupts import uninterrupted
from podway.lab.names import NETNS_DIR, parse_namespace
from podway.model.kernel import KernelObject
from podway.netlink import (
    NetlinkSocket,
    change_link,
    create_named_netns,
    delete_named_netns,
    entered,
    get_link,
    list_named_netns,
    open_named_netns,
)
from podway.netlink.constants import IFF_UP

LOOPBACK_INDEX = 1
CARRIER_POLL_S = 0.002
# include/uapi/linux/if.h
IF_OPER_UP = 6


def create_namespace(name: str) -> None:
    """Make the namespace *name*, with its loopback up. Raises `NetnsError`."""
    with uninterrupted():
        create_named_netns(name)
    with opened(name) as netns_fd, NetlinkSocket(netns_fd=netns_fd) as netlink:
        netlink.request(change_link({"index": LOOPBACK_INDEX, "flags": IFF_UP, "change": IFF_UP}))


def delete_namespace(name: str) -> None:
    """Take the namespace *name* away; the kernel ends it, and its links, when nobody uses it."""
    delete_named_netns(name)


def list_namespaces(lab: str) -> list[str]:
    """Return the names of the namespaces that belong to *lab*."""
    parsed = ((name, parse_namespace(name)) for name in list_named_netns())
    return [name for name, parts in parsed if parts is not None and parts[0] == lab]


def list_lab_names() -> set[str]:
    """Return the names of all labs that have a namespace."""
    parsed = (parse_namespace(name) for name in list_named_netns())
    return {parts[0] for parts in parsed if parts is not None}


def inode_of(name: str) -> int:
    """Return the number by which /proc/PID/ns/net names the namespace."""
    return (NETNS_DIR / name).stat().st_ino


@contextmanager
def opened(name: str) -> Iterator[int]:
    """Give a descriptor of the namespace *name*."""
    netns_fd = open_named_netns(name)
    try:
        yield netns_fd
    finally:
        os.close(netns_fd)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Have the calling thread in the namespace *name*; a signal waits until it is home again.

    Between any two instructions of going in or out an interrupt would leave the thread there, and
    with it whatever it makes or takes away afterwards. So what is done inside must be short.
    """
    with uninterrupted(), opened(name) as netns_fd, entered(netns_fd):
        yield


@contextmanager
def kernel_of(name: str) -> Iterator[Kernel]:
    """Give the kernel of the namespace *name*."""
    with uninterrupted(), opened(name) as netns_fd:
        kernel = NodeKernel(netns_fd)
        try:
            yield kernel
        finally:
            kernel.close()


def make(name: str, objects: Iterable[KernelObject]) -> None:
    """Make *objects* in the namespace *name*, in order; what is there already is left.

    Raises:
        KernelError: the first one that the kernel refused; the others were made all the same.
    """
    operations = [Operation(Verb.CREATE, item.key, desired=item) for item in objects]
    with kernel_of(name) as kernel:
        carry_out(kernel, operations)


def carry_out(kernel: Kernel, operations: Sequence[Operation]) -> None:
    """Apply *operations*; raise the first `KernelError`."""
    for error in kernel.apply(operations):
        if error is not None:
            raise error


def set_link_up(name: str, dev: str, *, up: bool) -> None:
    """Set the device *dev* in the namespace *name* administratively up or down."""
    with opened(name) as netns_fd, NetlinkSocket(netns_fd=netns_fd) as netlink:
        netlink.request(
            change_link({"ifname": dev, "flags": IFF_UP if up else 0, "change": IFF_UP})
        )


def wait_operational(name: str, dev: str, *, timeout_s: float = 5.0) -> None:
    """Wait until the device *dev* has a carrier and passes packets (RFC 2863, ifOperStatus up).

    The kernel notices a carrier a moment after the far end was set up (net/core/link_watch.c).

    Raises:
        TimeoutError: it has none in time.
    """
    deadline = time.monotonic() + timeout_s
    with opened(name) as netns_fd, NetlinkSocket(netns_fd=netns_fd) as netlink:
        while True:
            link = netlink.request(get_link({"ifname": dev}))
            if link is not None and link["operstate"] == IF_OPER_UP:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dev} in {name} has no carrier after {timeout_s} s")
            time.sleep(CARRIER_POLL_S)


@contextmanager
def entered_popen(
    name: str, command: Sequence[str], environment: dict[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Start *command* in the namespace *name* with pipes to it, and wait for its end on leaving.

    Raises:
        OSError: it cannot be started.
    """
    with inside(name):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    with process:
        yield process


def run_in(
    name: str,
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    environment: dict[str, str] | None = None,
    timeout_s: float = 60.0,
) -> tuple[int, bytes, bytes]:
    """Run *command* to its end in the namespace *name*; return exit code, stdout, stderr.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it was ended after *timeout_s*.
    """
    with entered_popen(name, command, environment) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except BaseException:
            process.kill()
            raise
    return process.returncode, stdout, stderr


def become(name: str, command: Sequence[str]) -> None:
    """Replace this process by *command* in the namespace *name*; its exit code is the process's.

    Raises:
        OSError: it cannot be started; the process is still there, but in the namespace.
    """
    with inside(name):
        os.execvp(command[0], list(command))  # noqa: S606  (no shell is meant)


def exists(name: str) -> bool:
    """Tell whether there is a namespace *name*."""
    return Path(NETNS_DIR / name).exists()
