"""Network namespaces by file descriptor: open, enter, make, delete, list.

Named namespaces are bind mounts under /run/netns, exactly as `ip netns add` makes them, so that
`ip netns exec` and podway see each other's. A namespace belongs to a *thread*: `entered` moves the
calling thread alone, and what cannot come home must die (`NamespaceLostError`).

Python has setns and unshare from 3.12 on; until then they are called in libc through `_ctypes`,
the C module under ctypes (whose own import would take longer than everything else here).

Sources: namespaces(7), network_namespaces(7), setns(2), iproute2 ip/ipnetns.c.
"""

from __future__ import annotations

import errno as errnos
import posix
from _thread import allocate_lock, start_new_thread

from podway.netlink.errors import NamespaceLostError, NetnsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

NETNS_DIR = "/run/netns"
_CURRENT = "/proc/thread-self/ns/net"
_OPEN_FLAGS = posix.O_RDONLY | posix.O_CLOEXEC
_NAME_BYTES_MAX = 255

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 0x100000
_MNT_DETACH = 2
_LOCK_EX = 2


def open_netns(path: str) -> int:
    """Return a file descriptor (close-on-exec) of the namespace at *path*; the caller closes it.

    Raises:
        NetnsError: it cannot be opened; ENOENT when there is nothing at *path*.
    """
    try:
        return posix.open(path, _OPEN_FLAGS)
    except OSError as error:
        raise NetnsError(error.errno or 0, f"open network namespace {path}") from error


def open_netns_of_pid(pid: int) -> int:
    """Return a file descriptor of the namespace that process *pid* is in; see `open_netns`."""
    return open_netns(f"/proc/{pid}/ns/net")


def open_named_netns(name: str) -> int:
    """Return a file descriptor of the namespace that `ip netns` calls *name*; see `open_netns`."""
    return open_netns(_path_of(name))


def open_current_netns() -> int:
    """Return a file descriptor of the calling thread's namespace; see `open_netns`."""
    return open_netns(_CURRENT)


def identity(fd: int) -> tuple[int, int]:
    """Return what distinguishes a namespace from all others: (st_dev, st_ino).

    Raises:
        OSError: *fd* is not open.
    """
    status = posix.fstat(fd)
    return status.st_dev, status.st_ino


def current_identity() -> tuple[int, int]:
    """Return the identity of the calling thread's namespace."""
    status = posix.stat(_CURRENT)
    return status.st_dev, status.st_ino


class entered:  # noqa: N801  # reads as a phrase: with entered(fd)
    """Context manager: the calling thread is in namespace *fd*, and home again afterwards.

    Everything that the thread does meanwhile happens there, so there must be no ``await`` inside.

    Raises:
        NetnsError: *fd* cannot be entered; the thread has not moved.
        NamespaceLostError: the thread cannot go home; a SystemExit, not to be caught.
    """

    __slots__ = ("_fd", "_home")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._home = -1

    def __enter__(self) -> None:
        self._home = open_current_netns()
        try:
            _setns(self._fd)
        except NetnsError:
            posix.close(self._home)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            _setns(self._home)
        except NetnsError as failure:
            raise NamespaceLostError(
                f"{failure}; the thread is left in a network namespace that is not its own and ends"
            ) from failure
        finally:
            posix.close(self._home)


def create_named_netns(name: str) -> None:
    """Make a namespace as `ip netns add` does; the calling thread stays where it is.

    Raises:
        NetnsError: EEXIST when the name is taken, EINVAL for an impossible name, EPERM without
            CAP_SYS_ADMIN.
    """
    operation = f"create network namespace {name}"
    path = _path_of(name)
    try:
        _share_netns_dir()
        posix.close(posix.open(path, _OPEN_FLAGS | posix.O_CREAT | posix.O_EXCL, 0))
        try:
            _run_in_thread(lambda: _mount_new_netns(path))
        except BaseException:
            posix.unlink(path)
            raise
    except OSError as error:
        raise NetnsError(error.errno or 0, operation) from error


def delete_named_netns(name: str) -> None:
    """Take a name away as `ip netns delete` does; the kernel ends the namespace when unused.

    Raises:
        NetnsError: ENOENT when there is no such name.
    """
    path = _path_of(name)
    try:
        posix.stat(path)
        try:
            call_libc("umount2", path.encode(), _MNT_DETACH)
        except OSError as error:
            if error.errno != errnos.EINVAL:  # left behind unmounted, by a reboot or a crash
                raise
        posix.unlink(path)
    except OSError as error:
        raise NetnsError(error.errno or 0, f"delete network namespace {name}") from error


def list_named_netns() -> list[str]:
    """Return the names of all named namespaces, sorted; none where no namespace was ever named."""
    try:
        return sorted(posix.listdir(NETNS_DIR))
    except FileNotFoundError:
        return []


def _path_of(name: str) -> str:
    if not name or "/" in name or "\0" in name or name in {".", ".."}:
        rule = "a name is a file name: not empty, no slash, not . or .."
        raise NetnsError(errnos.EINVAL, f"use {name!r} as name of a network namespace", rule)
    if len(name.encode()) > _NAME_BYTES_MAX:
        rule = f"a name has at most {_NAME_BYTES_MAX} bytes"
        raise NetnsError(errnos.ENAMETOOLONG, f"use {name!r} as name of a network namespace", rule)
    return f"{NETNS_DIR}/{name}"


def _share_netns_dir() -> None:
    """Make /run/netns a shared mount, so that names come and go in other mount namespaces too.

    Under a lock, as iproute2: of two processes at once both would bind it over itself.
    """
    from fcntl import flock  # noqa: PLC0415  # a C module that nothing else here needs

    try:  # noqa: SIM105
        posix.mkdir(NETNS_DIR, 0o755)
    except FileExistsError:
        pass  # contextlib.suppress would cost an import
    directory = posix.open(NETNS_DIR, _OPEN_FLAGS | posix.O_DIRECTORY)
    try:
        flock(directory, _LOCK_EX)
        try:
            _mount("", NETNS_DIR, _MS_SHARED | _MS_REC)
        except OSError as error:
            if error.errno != errnos.EINVAL:  # EINVAL: no mount point yet
                raise
            _mount(NETNS_DIR, NETNS_DIR, _MS_BIND | _MS_REC)
            _mount("", NETNS_DIR, _MS_SHARED | _MS_REC)
    finally:
        posix.close(directory)


def _mount_new_netns(path: str) -> None:
    call_libc("unshare", _CLONE_NEWNET)
    _mount(_CURRENT, path, _MS_BIND)


def _run_in_thread(work: Callable[[], None]) -> None:
    """Run *work* in a thread of its own, whose namespace ends with it; raise what it raises."""
    failures: list[BaseException] = []
    done = allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # carried over to the waiting thread
            failures.append(error)
        finally:
            done.release()

    start_new_thread(run, ())
    done.acquire()
    if failures:
        raise failures[0]


def _setns(fd: int) -> None:
    try:
        call_libc("setns", fd, _CLONE_NEWNET)
    except OSError as error:
        hint = "the file is no network namespace" if error.errno == errnos.EINVAL else ""
        raise NetnsError(error.errno or 0, f"enter network namespace fd {fd}", hint) from error


def _mount(source: str, target: str, flags: int) -> None:
    call_libc("mount", source.encode(), target.encode(), b"none", flags, None)


_ARGUMENTS = {
    "setns": "ii",
    "unshare": "i",
    "mount": "zzzLz",
    "umount2": "zi",
    "fsopen": "zi",
    "fsconfig": "iizzi",
    "fsmount": "iii",
}
_functions: dict[str, Callable[..., int]] = {}


def call_libc(name: str, *arguments: bytes | int | None) -> int:
    """Call a function of libc and return what it returns; -1 means that it has set errno.

    Raises:
        OSError: with that errno; without one when this libc has no such function.
    """
    import _ctypes  # noqa: PLC0415  # for those alone who enter namespaces

    function = _functions.get(name)
    if function is None:
        function = _functions[name] = _load(name)
    returned = function(*arguments)
    if returned < 0:
        number = _ctypes.get_errno()
        raise OSError(number, posix.strerror(number))
    return returned


def _load(name: str) -> Callable[..., int]:
    """Return a function of libc as a callable that keeps errno.

    These are the few lines of the ctypes package that are needed; the types are ``i`` int, ``L``
    unsigned long and ``z`` char pointer, as in the struct module's letters.
    """
    import _ctypes  # noqa: PLC0415

    types = {
        letter: type(f"_C{letter}", (_ctypes._SimpleCData,), {"_type_": letter})  # noqa: SLF001
        for letter in "iLz"
    }
    prototype = type(
        "_Function",
        (_ctypes.CFuncPtr,),
        {
            "_flags_": _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO,
            "_restype_": types["i"],
        },
    )
    handle = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None: what is loaded already
    function = prototype(_ctypes.dlsym(handle, name))
    function.argtypes = tuple(types[letter] for letter in _ARGUMENTS[name])
    return function  # type: ignore[no-any-return]  # CFuncPtr is callable
