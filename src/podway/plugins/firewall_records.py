"""Whose address is whose: a file for each address that the ``firewall`` plugin let pass.

In: an attachment and its addresses. Out: ``<dataDir>/<address>``, which says network, container,
interface, back end, and zone or table. Called by `firewall_add` and `firewall_removal`. Below /run
by default: a restart of the machine takes rules and files. A file is written before its rules and
removed after them, so whatever was interrupted is found; one that is torn belongs to nobody, and
goes with the next DEL or ADD that tells its address.

All of it under a lock: an address may be given to somebody else while its last owner's DEL is late.
"""

import posix
from errno import ENOENT
from fcntl import LOCK_EX, flock

from podway.cni.addresses import canonical_address
from podway.cni.documents import decode, encode
from podway.cni.errors import CniError
from podway.cni.fields import Fields
from podway.cni.values import Value
from podway.plugins.state_files import make_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Self

_MODE_FILE: "Final" = 0o600
_ASIDE: "Final" = ".new"


class Record(Value):
    """What is noted of one address.

    Attributes:
        network: name.
        container_id: of the container.
        ifname: of the interface.
        backend: that has its rules.
        place: the zone of firewalld, the table of nftables; "" for iptables.
        addresses: all that the attachment had; empty where an older version wrote the file.
    """

    network: str
    container_id: str
    ifname: str
    backend: str
    place: str = ""
    addresses: tuple[str, ...] = ()

    @property
    def attachment(self) -> tuple[str, str, str]:
        """Whose it is."""
        return self.network, self.container_id, self.ifname


class Records:
    """The directory, locked for as long as the block lasts.

    Args:
        directory: absolute path; made unless it is there.

    Raises:
        OSError: it cannot be made or locked.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._descriptor = -1

    def __enter__(self) -> "Self":
        make_directories(self._directory)
        flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
        self._descriptor = posix.open(self._directory, flags)
        try:
            flock(self._descriptor, LOCK_EX)
        except BaseException:
            posix.close(self._descriptor)
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        posix.close(self._descriptor)

    def read(self, address: str) -> Record | None:
        """Return what is noted of *address*; None for nothing, or nothing sensible."""
        flags = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW
        try:
            file = posix.open(address, flags, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        try:
            return _parse(posix.read(file, 1 << 16))
        except CniError:
            return None
        finally:
            posix.close(file)

    def write(self, address: str, record: Record) -> None:
        """Note *record* of *address*, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        aside = address + _ASIDE
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
        file = posix.open(aside, flags, _MODE_FILE, dir_fd=self._descriptor)
        try:
            posix.write(file, encode(_document(record)).encode())
        finally:
            posix.close(file)
        posix.rename(aside, address, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, address: str) -> None:
        """Note nothing of *address* any more."""
        for name in (address, address + _ASIDE):
            try:
                posix.unlink(name, dir_fd=self._descriptor)
            except OSError as error:
                if error.errno != ENOENT:
                    raise

    def find(self, network: str) -> dict[str, Record]:
        """Return what is noted of a network, by address."""
        found = {}
        for name in sorted(posix.listdir(self._descriptor)):
            address = name.removesuffix(_ASIDE)
            record = self.read(address) if _is_address(address) else None
            if record is not None and record.network == network:
                found[address] = record
        return found


def _is_address(name: str) -> bool:
    try:
        return canonical_address(name) == name
    except ValueError:
        return False


def _document(record: Record) -> "dict[str, object]":
    return {
        "network": record.network,
        "containerID": record.container_id,
        "ifname": record.ifname,
        "backend": record.backend,
        "place": record.place,
        "addresses": list(record.addresses),
    }


def _parse(data: bytes) -> Record:
    fields = Fields(decode(data, "record of an address"))
    return Record(
        network=fields.text("network"),
        container_id=fields.text("containerID"),
        ifname=fields.text("ifname"),
        backend=fields.text("backend"),
        place=fields.text("place"),
        addresses=tuple(filter(_is_address, fields.texts("addresses"))),
    )
