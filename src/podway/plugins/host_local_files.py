r"""Reservations of addresses, one file for each, exactly as the reference ``host-local`` has them.

In: the directory of a network. Out: who has which address; reservations made and given back.
Called by `host_local`. A node can change between the two implementations at any time::

    <dataDir>/<network>/10.1.0.5           "c1\r\neth0": container and interface
                        last_reserved_ip.0 "10.1.0.5": where the search in pool 0 goes on
                        lock               flock(2), held by whoever reads or writes
                        index.podway       podway's alone (`host_local_index`)

Torn files: all writers hold the lock, so a file under it that says nothing sensible was left by a
process that died, or by a machine that stopped. It counts as free; GC removes it.
"""

import posix
from fcntl import LOCK_EX, flock

from podway.plugins.host_local_index import (
    FILE_MODE,
    Index,
    Owner,
    is_address,
    parse_owner,
    read_file,
    write_file,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final, Self

    from podway.cni.requests import Request

_LOCK: "Final" = "lock"
_LAST: "Final" = "last_reserved_ip."
_DIRECTORY_MODE: "Final" = 0o755
_WRITE: "Final" = posix.O_WRONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_CREAT


class Reservations:
    """The reservations of one network, locked while the block lasts.

    Args:
        directory: of the network.
        may_make: make it when it is missing; else a missing one has no reservations.
    """

    def __init__(self, directory: str, *, may_make: bool) -> None:
        self._directory = directory
        self._may_make = may_make
        self._lock = -1
        self._index = Index(directory)

    def __enter__(self) -> "Self":
        try:
            self._lock = self._open_lock()
        except FileNotFoundError:
            if not self._may_make:
                return self
            from podway.plugins.state_files import (  # noqa: PLC0415 - once for each network
                make_directories,
            )

            make_directories(self._directory, _DIRECTORY_MODE)
            self._lock = self._open_lock()
        flock(self._lock, LOCK_EX)
        self._index.load()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._lock >= 0:
            posix.close(self._lock)
            self._lock = -1

    @property
    def exists(self) -> bool:
        """The directory is there."""
        return self._lock >= 0

    def addresses_of(self, owner: Owner) -> list[str]:
        """Return the addresses that *owner* has.

        As in the reference plugin, files that name the container alone, of its old versions,
        belong to each of its interfaces, unless there is one that names this interface.
        """
        if not self.exists:
            return []
        nameless = Owner(container_id=owner.container_id, ifname="")
        return self._index.find(owner) or self._index.find(nameless)

    def taken(self) -> frozenset[str]:
        """Return all addresses that somebody has."""
        return frozenset(self._index.addresses() if self.exists else ())

    def owners(self) -> "dict[str, Owner | None]":
        """Return every reservation by address; None for a file that says nothing sensible."""
        if not self.exists:
            return {}
        names = [name for name in posix.listdir(self._directory) if is_address(name)]
        return {name: self._owner_of(name) for name in names}

    def reserve(self, address: str, owner: Owner) -> bool:
        """Reserve *address* unless somebody has it; tell whether it was free."""
        path = f"{self._directory}/{address}"
        try:
            descriptor = posix.open(path, _WRITE | posix.O_EXCL, FILE_MODE)
        except FileExistsError:
            if self._owner_of(address) is not None:
                return False
            descriptor = posix.open(path, _WRITE | posix.O_TRUNC, FILE_MODE)
        try:
            posix.write(descriptor, f"{owner.container_id}\r\n{owner.ifname}".encode())
        except OSError:
            posix.unlink(path)
            raise
        finally:
            posix.close(descriptor)
        self._index.add(address, owner)
        return True

    def release(self, addresses: "Iterable[str]") -> None:
        """Give *addresses* back; one that is free is no error."""
        for address in addresses:
            self._index.remove(address)
            try:
                posix.unlink(f"{self._directory}/{address}")
            except FileNotFoundError:
                continue

    def save(self) -> None:
        """Write down what changed, once per call."""
        if self.exists:
            self._index.save()

    def last_reserved(self, pool: int) -> str:
        """Return the address last given from pool number *pool*, as it stands there; "" if none."""
        return read_file(self._last_path(pool)).decode(errors="replace").strip()

    def note_last(self, pool: int, address: str) -> None:
        """Note where the next search in pool number *pool* begins."""
        write_file(self._last_path(pool), address.encode())

    def _last_path(self, pool: int) -> str:
        return f"{self._directory}/{_LAST}{pool}"

    def _owner_of(self, address: str) -> "Owner | None":
        return parse_owner(read_file(f"{self._directory}/{address}"))

    def _open_lock(self) -> int:
        flags = posix.O_RDONLY | posix.O_CREAT | posix.O_CLOEXEC
        return posix.open(f"{self._directory}/{_LOCK}", flags, FILE_MODE)


def owner_of(request: "Request") -> Owner:
    """Return who the attachment of *request* is to its reservations."""
    return Owner(container_id=request.container_id, ifname=request.ifname)
