"""Sysctls under /proc/sys/net: read and written by path, never through a shell or a pattern.

A path is ``ipv4/conf/podway.1/accept_ra``: components are file names and may hold dots. The files
show the network namespace of whoever opens them, so calls are made inside the right one.
"""

import errno
import os

from podway.kernel.protocol import KernelError

_ROOT = "/proc/sys/net"


def read_sysctl(path: str) -> str | None:
    """Return the value at *path*; None when there is no such file (its device is gone).

    Raises:
        OSError: as the kernel gives it.
        KernelError: *path* could leave /proc/sys/net.
    """
    try:
        fd = os.open(checked_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, 4096).decode().strip()
    finally:
        os.close(fd)


def write_sysctl(path: str, value: str) -> None:
    """Write *value* at *path*.

    Raises:
        OSError: as the kernel gives it: ENOENT for no such file, EINVAL for no such value.
        KernelError: *path* could leave /proc/sys/net.
    """
    fd = os.open(checked_path(path), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, f"{value}\n".encode())
    finally:
        os.close(fd)


def device_of_path(path: str) -> str:
    """Return the device that a sysctl's *path* belongs to; "" for none."""
    parts = path.split("/")
    named = len(parts) == 4 and parts[1] in {"conf", "neigh"} and parts[2] not in {"all", "default"}
    return parts[2] if named else ""


def checked_path(path: str) -> str:
    """Return the file of sysctl *path*.

    Raises:
        KernelError: EINVAL when *path* could leave /proc/sys/net.
    """
    parts = path.split("/")
    if not all(part and part not in (".", "..") for part in parts):
        rule = "a path is names joined by '/', none of them empty, '.' or '..'"
        raise KernelError(errno.EINVAL, f"use sysctl {path!r}", rule)
    return f"{_ROOT}/{path}"
