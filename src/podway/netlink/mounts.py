"""A process's own view of the file system: mount namespaces.

In: directories. Out: nothing but the view, which ends with the process. For programs that insist on
a path which others use too: wireguard-go has its sockets in a directory of the whole machine.

Sources: mount_namespaces(7), unshare(2), mount(2).
"""

from __future__ import annotations

from podway.netlink.netns import call_libc

_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000


def enter_private_mounts() -> None:
    """Leave the mount namespace that is shared with others: what is mounted later is seen by none.

    For a process with one thread.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN.
    """
    call_libc("unshare", _CLONE_NEWNS)
    call_libc("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


def mount_over(target: str, source: str) -> None:
    """Let *target* be the directory *source* from now on.

    Raises:
        OSError: ENOENT if one of them does not exist, EPERM without CAP_SYS_ADMIN.
    """
    call_libc("mount", source.encode(), target.encode(), b"none", _MS_BIND, None)
