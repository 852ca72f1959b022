"""Sysctls under /proc/sys/net: read and written by path, never through a shell or a pattern.

A path is ``ipv4/conf/podway.1/accept_ra``: components are file names and may hold dots. The files
show the network namespace of whoever opens them, so calls are made inside the right one.
"""

import errno
import os

from podway.kernel.protocol import KernelError

_ROOT = "sys/net"


def read_sysctl(path: str, procfs: int | None = None) -> str | None:
    """Return the value at *path*; None when there is no such file (its device is gone).

    Args:
        path: of the sysctl.
        procfs: descriptor of the procfs to read in; None for /proc.

    Raises:
        OSError: as the kernel gives it.
        KernelError: *path* could leave /proc/sys/net.
    """
    try:
        fd = _open(path, os.O_RDONLY, procfs)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, 4096).decode().strip()
    finally:
        os.close(fd)


def write_sysctl(path: str, value: str, procfs: int | None = None) -> None:
    """Write *value* at *path*.

    Args:
        path: of the sysctl.
        value: what it shall be.
        procfs: descriptor of the procfs to write in; None for /proc.

    Raises:
        OSError: as the kernel gives it: ENOENT for no such file, EINVAL for no such value.
        KernelError: *path* could leave /proc/sys/net.
    """
    fd = _open(path, os.O_WRONLY, procfs)
    try:
        os.write(fd, f"{value}\n".encode())
    finally:
        os.close(fd)


def device_of_path(path: str) -> str:
    """Return the device that a sysctl's *path* belongs to; "" for none."""
    parts = path.split("/")
    named = len(parts) == 4 and parts[1] in {"conf", "neigh"} and parts[2] not in {"all", "default"}
    return parts[2] if named else ""


def _open(path: str, flags: int, procfs: int | None) -> int:
    checked = checked_path(path)
    name = f"/proc/{checked}" if procfs is None else checked
    return os.open(name, flags | os.O_CLOEXEC, dir_fd=procfs)


def checked_path(path: str) -> str:
    """Return the file of sysctl *path*, as it is called below /proc.

    Raises:
        KernelError: EINVAL when *path* could leave /proc/sys/net.
    """
    parts = path.split("/")
    if not all(part and part not in (".", "..") for part in parts):
        rule = "a path is names joined by '/', none of them empty, '.' or '..'"
        raise KernelError(errno.EINVAL, f"use sysctl {path!r}", rule)
    return f"{_ROOT}/{path}"
