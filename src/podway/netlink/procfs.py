"""A procfs of one's own, for sysctls of network namespaces on nodes that have many.

In: nothing. Out: a descriptor, below which ``sys/net/...`` shows the sysctls of the namespace of
whoever opens them, as /proc/sys/net does.

Why: the kernel keeps every directory that anybody has looked up in one list for each name, for all
network namespaces together, and compares one by one (fs/proc/proc_sysctl.c, proc_sys_compare). The
first look into a new namespace thus goes through all others, three times: 1.3 ms on a node with
1,000 pods. Nobody else has looked anything up in a procfs that was just made; making and dropping
it takes 0.1 ms. It is mounted nowhere and goes with its descriptor (fsmount(2)).
"""

import posix

from podway.netlink.netns import call_libc

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6


def open_procfs() -> int:
    """Return a descriptor (close-on-exec) of a procfs; the caller closes it.

    Where none can be made (Linux before 5.2, a libc without the calls, no CAP_SYS_ADMIN) it is the
    common one, which is slower and no different.

    Raises:
        OSError: there is no /proc.
    """
    try:
        return _make_procfs()
    except OSError:
        return posix.open("/proc", posix.O_PATH | posix.O_CLOEXEC)


def _make_procfs() -> int:
    context = call_libc("fsopen", b"proc", _FSOPEN_CLOEXEC)
    try:
        call_libc("fsconfig", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return call_libc("fsmount", context, _FSMOUNT_CLOEXEC, 0)
    finally:
        posix.close(context)
