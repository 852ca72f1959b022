r"""Who has which address, in one file: so that no call reads a thousand.

In: a directory of reservations (`host_local_files`), its lock held. Out: the addresses of an owner.
The reference plugin reads all files at every call. Here a file ``index.podway`` beside them has a
line per reservation::

    <stamp> <length> <crc32>\n              of the lines that follow
    10.1.0.5 c1 eth0\n

It must never be believed wrongly, although the reference plugin changes the directory without a
word about it. So whoever writes the index then sets the directory's modification time to the
``stamp``: a time with nanoseconds drawn by lot. Whatever is afterwards made or removed in the
directory, by whomever, gives it another time; then the index is stale, and is made anew from the
files. A file system that does not keep nanoseconds gives it another time too: slow, but right. The
index may be deleted at any moment.
"""

import posix
from binascii import crc32
from time import time

from podway.cni.addresses import parse_address, render_address
from podway.cni.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

INDEX: "Final" = "index.podway"
FILE_MODE: "Final" = 0o600
_READ: "Final" = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW
_WRITE: "Final" = posix.O_WRONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_CREAT
_NS_PER_S: "Final" = 1_000_000_000


class Owner(Value):
    """Whose a reservation is.

    Attributes:
        container_id: of the container.
        ifname: of its interface; "" in files of the reference plugin before 0.7.
    """

    container_id: str
    ifname: str


class Index:
    """The index of one directory; read when first asked, written by `save` if it changed."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = f"{directory}/{INDEX}"
        # Begins and ends with a line feed, so that a line is found by its ends.
        self._lines: bytearray | None = None
        self._is_saved = True

    def load(self) -> None:
        """Read the index, before anything in the directory is changed."""
        if self._lines is None:
            self._lines = self._read()

    def find(self, owner: Owner) -> list[str]:
        """Return the addresses of *owner*, in the order in which they were reserved."""
        lines = self._loaded()
        needle = f" {owner.container_id} {owner.ifname}\n".encode()
        found = []
        at = lines.find(needle)
        while at >= 0:
            found.append(lines[lines.rindex(b"\n", 0, at) + 1 : at].decode())
            at = lines.find(needle, at + 1)
        return found

    def addresses(self) -> list[str]:
        """Return all addresses that somebody has."""
        return [line.partition(" ")[0] for line in self._loaded().decode().split("\n")[1:-1]]

    def add(self, address: str, owner: Owner) -> None:
        """Note that *owner* has *address*."""
        lines = self._loaded()
        lines += _line(address, owner)
        self._is_saved = False

    def remove(self, address: str) -> None:
        """Note that nobody has *address*."""
        lines = self._loaded()
        start = lines.find(f"\n{address} ".encode()) + 1
        if start:
            del lines[start : lines.index(b"\n", start) + 1]
        self._is_saved = False

    def save(self) -> None:
        """Write the index, and stamp the directory, if anything changed since it was read.

        An index that cannot be written (a full disk) is stale: that costs time, not truth.
        """
        if self._is_saved:
            return
        lines = bytes(self._loaded()[1:])
        now_s = int(time())
        stamp = now_s * _NS_PER_S + int.from_bytes(posix.urandom(4), "big") % _NS_PER_S
        self._is_saved = True
        try:
            write_file(self._path, _header(stamp, lines) + lines)
            posix.utime(self._directory, ns=(stamp, stamp))
        except OSError:
            return

    def _loaded(self) -> bytearray:
        self.load()
        assert self._lines is not None
        return self._lines

    def _read(self) -> bytearray:
        header, _, lines = read_file(self._path).partition(b"\n")
        stamp = posix.stat(self._directory).st_mtime_ns
        if header + b"\n" == _header(stamp, lines):
            return bytearray(b"\n" + lines)
        return self._make()

    def _make(self) -> bytearray:
        """Return the lines that the files say."""
        lines = bytearray(b"\n")
        for name in sorted(filter(is_address, posix.listdir(self._directory))):
            owner = parse_owner(read_file(f"{self._directory}/{name}"))
            if owner is not None:
                lines += _line(name, owner)
        self._is_saved = False
        return lines


def parse_owner(content: bytes) -> Owner | None:
    """Return whose a reservation with this *content* is; None if it says nothing sensible."""
    words = content.decode(errors="replace").split()
    if not words or "\0" in words[0]:
        return None
    # Names have no blanks; should one have, nobody asks for it, but it stays somebody's.
    return Owner(container_id=words[0], ifname=" ".join(words[1:]))


def is_address(name: str) -> bool:
    """Tell whether a file of that name is a reservation: an address in canonical form."""
    try:
        return render_address(parse_address(name)) == name
    except ValueError:
        return False


def read_file(path: str) -> bytes:
    """Return what is in a file, b"" if there is none or it is a directory."""
    try:
        descriptor = posix.open(path, _READ)
    except FileNotFoundError:
        return b""
    try:
        # With its exact size: a larger buffer costs more than the read.
        content = posix.read(descriptor, posix.fstat(descriptor).st_size)
    except IsADirectoryError:
        return b""
    finally:
        posix.close(descriptor)
    return content


def write_file(path: str, content: bytes) -> None:
    """Let *content* be all that is in a file.

    Not by truncating it first: ext4 takes that for a replacement, and writes the new content to the
    disk when the file is closed (auto_da_alloc).
    """
    descriptor = posix.open(path, _WRITE, FILE_MODE)
    try:
        size = len(content)
        while content:
            content = content[posix.write(descriptor, content) :]
        if posix.fstat(descriptor).st_size > size:
            posix.ftruncate(descriptor, size)
    finally:
        posix.close(descriptor)


def _line(address: str, owner: Owner) -> bytes:
    return f"{address} {owner.container_id} {owner.ifname}\n".encode()


def _header(stamp: int, lines: bytes) -> bytes:
    return f"{stamp} {len(lines)} {crc32(lines)}\n".encode()
