"""Tap devices: made in the namespace of the calling thread, to stay when nobody has them open.

In: name, owner, group, number of queues, SELinux context. Out: a device. rtnetlink makes none
(``tun_validate`` refuses), so it is ``/dev/net/tun`` and its ioctls; IFF_TUN_EXCL keeps them from
opening a device that is there already. Until TUNSETPERSIST the device goes with the descriptor, so
that whatever fails leaves nothing.

Under SELinux a tap belongs to the context of the process that makes it, and a process changes its
context by executing something. That, and only that, is why `ip` is executed where a context is
asked for, as the reference plugin does.

Sources: include/uapi/linux/if_tun.h, drivers/net/tun.c, security/selinux/hooks.c.
"""

import posix
from _struct import Struct
from fcntl import ioctl

from podway.cni.errors import IO_FAILURE, UNSUPPORTED_FIELD, CniError, broken_rule
from podway.cni.values import Value
from podway.plugins.programs import find_program, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TUN_PATH: "Final" = "/dev/net/tun"
# Mounted where SELinux decides.
_SELINUX: "Final" = "/sys/fs/selinux/enforce"
_EXEC_CONTEXT: "Final" = "/proc/thread-self/attr/exec"

_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100
_IFF_NO_PI = 0x1000
_IFF_TUN_EXCL = 0x8000
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_TUNSETGROUP = 0x400454CE
# struct ifreq: the name, the flags, and what other ioctls need.
_IFREQ = Struct("=16sH22x")
# What clears a context: an empty text would not get as far as SELinux.
_NO_CONTEXT = "\n"


class Tap(Value):
    """A tap device.

    Attributes:
        name: of the device.
        owner: user who may open it, None for root alone.
        group: whose members may open it, None for no group.
        has_queues: several descriptors may be open, one for each queue.
        selinux_context: of the process that makes it, "" for this one's.
    """

    name: str
    owner: int | None = None
    group: int | None = None
    has_queues: bool = False
    selinux_context: str = ""


def make_tap(tap: Tap) -> None:
    """Make a tap device in the namespace of the calling thread.

    Raises:
        CniError: IO_FAILURE, the kernel refuses, be it because there is a device of that name;
            INVALID_CONFIG, there is no SELinux to know a context.
    """
    if tap.selinux_context:
        _make_labelled(tap)
        return
    try:
        descriptor = posix.open(TUN_PATH, posix.O_RDWR | posix.O_CLOEXEC)
        try:
            _configure(descriptor, tap)
        finally:
            posix.close(descriptor)
    except OSError as error:
        raise CniError(
            IO_FAILURE, f"cannot make tap device {tap.name}: {error.strerror} ({TUN_PATH})"
        ) from error


def tap_exists() -> bool:
    """Tell whether this kernel has tap devices at all."""
    return posix.access(TUN_PATH, posix.R_OK | posix.W_OK)


def ifreq_of(tap: Tap) -> bytes:
    """Return the struct ifreq by which TUNSETIFF makes *tap*."""
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL
    if tap.has_queues:
        flags |= _IFF_MULTI_QUEUE
    return _IFREQ.pack(tap.name.encode(errors="surrogateescape"), flags)


def command_of(tap: Tap, program: str) -> list[str]:
    """Return the arguments with which *program*, iproute2's `ip`, makes *tap*."""
    argv = [program, "tuntap", "add", "mode", "tap", "name", tap.name]
    if tap.has_queues:
        argv.append("multi_queue")
    if tap.owner is not None:
        argv += ["user", str(tap.owner)]
    if tap.group is not None:
        argv += ["group", str(tap.group)]
    return argv


def _configure(descriptor: int, tap: Tap) -> None:
    ioctl(descriptor, _TUNSETIFF, ifreq_of(tap))
    if tap.owner is not None:
        ioctl(descriptor, _TUNSETOWNER, _as_int(tap.owner))
    if tap.group is not None:
        ioctl(descriptor, _TUNSETGROUP, _as_int(tap.group))
    ioctl(descriptor, _TUNSETPERSIST, 1)


def _make_labelled(tap: Tap) -> None:
    if not posix.access(_SELINUX, posix.F_OK):
        # Other security modules would take the context for something else.
        rule = "must be absent: SELinux is not enabled on this host"
        raise broken_rule("selinuxContext", tap.selinux_context, rule)
    program = find_program("ip")
    if program is None:
        raise CniError(UNSUPPORTED_FIELD, "selinuxContext needs the program ip: install iproute2")
    _set_exec_context(tap.selinux_context)
    try:
        outcome = run_program(command_of(tap, program))
    finally:
        _set_exec_context(_NO_CONTEXT)  # or an IPAM plugin would be executed in it as well
    if outcome.code:
        raise CniError(IO_FAILURE, f"cannot make tap device {tap.name}: {outcome.complaint}")


def _set_exec_context(context: str) -> None:
    """Say in which SELinux context the next program is executed."""
    try:
        descriptor = posix.open(_EXEC_CONTEXT, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(descriptor, context.encode())
        finally:
            posix.close(descriptor)
    except OSError as error:
        raise CniError(
            IO_FAILURE, f"selinuxContext = {context!r}: SELinux does not take it: {error.strerror}"
        ) from error


def _as_int(number: int) -> int:
    """Return an unsigned number of 32 bits as the C int that Python hands to ioctl(2)."""
    return number - (1 << 32) if number >> 31 else number
