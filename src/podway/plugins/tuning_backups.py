"""Files that say how an interface was before ``tuning`` changed it: one for each attachment.

In: the properties that are about to change. Out: ``<dataDir>/<container>_<interface>.json``, as the
reference plugin has it, so that either plugin can give back what the other has changed::

    {"mac":"0a:58:0a:01:00:05","promisc":false,"mtu":1500,"allmulti":false,"txQLen":1000,
     "network":"net","containerID":"c1","ifname":"eth0"}

The second line is podway's: GC knows by it whose the file is. Of two containers whose names make
one file name (``a_b`` with ``c``, ``a`` with ``b_c``) the second one has another file. Where
``tuning`` stands twice in a list, the older value of a property counts.
"""

from podway.cni.documents import decode, encode
from podway.cni.errors import CniError
from podway.cni.fields import Fields
from podway.cni.values import Value
from podway.netlink.constants import IFF_ALLMULTI, IFF_PROMISC
from podway.plugins.digests import sha512_hex
from podway.plugins.marks import attachment_mark
from podway.plugins.state_files import names_in, read_if_any, remove_if_any, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import NetConf, Request
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.tuning_conf import TuningConf

_DIGITS: "Final" = 24
_END: "Final" = ".json"
# Of a file while it is being written; one that stays was left by a process that was killed.
_ASIDE: "Final" = ".new"


class Backup(Value):
    """How an interface was; None for what did not change.

    Attributes:
        mac: address.
        mtu_bytes: size.
        promisc: it received what is for others.
        allmulti: it received all multicast.
        txqlen: how many packets could wait.
    """

    mac: str | None = None
    mtu_bytes: int | None = None
    promisc: bool | None = None
    allmulti: bool | None = None
    txqlen: int | None = None


def compute_backup(conf: "TuningConf", link: "LinkMessage") -> Backup:
    """Return what *conf* will change of *link*, as it is."""
    return Backup(
        mac=link["address"] if conf.mac else None,
        mtu_bytes=link["mtu"] if conf.mtu_bytes else None,
        promisc=bool(link["flags"] & IFF_PROMISC) if conf.promisc else None,
        allmulti=None if conf.allmulti is None else bool(link["flags"] & IFF_ALLMULTI),
        txqlen=None if conf.txqlen is None else link.get("txqlen", 0),
    )


def compute_restoration(backup: Backup, index: int) -> "list[LinkMessage]":
    """Return the changes that give device *index* back what *backup* has, each for itself.

    First the size, since a device that is too small refuses nothing else.
    """
    changes: list[LinkMessage] = []
    if backup.mtu_bytes:
        changes.append({"mtu": backup.mtu_bytes})
    if backup.mac:
        changes.append({"address": backup.mac})
    if backup.promisc is not None:
        changes.append(flag_change(IFF_PROMISC, is_on=backup.promisc))
    if backup.allmulti is not None:
        changes.append(flag_change(IFF_ALLMULTI, is_on=backup.allmulti))
    if backup.txqlen is not None:
        changes.append({"txqlen": backup.txqlen})
    return [{**change, "index": index} for change in changes]


def flag_change(flag: int, *, is_on: bool) -> "LinkMessage":
    """Return what sets or clears a flag."""
    return {"flags": flag if is_on else 0, "change": flag}


class BackupFile:
    """The file of one attachment.

    Args:
        directory: ``dataDir``.
        request: which attachment.
    """

    def __init__(self, directory: str, request: "Request") -> None:
        self._keys = {
            "network": request.config.name,
            "containerID": request.container_id,
            "ifname": request.ifname,
        }
        self._names = _names(request.config.name, request.container_id, request.ifname)
        self._directory = directory

    def read(self) -> Backup | None:
        """Return what the file says; None without a file, or if it says nothing sensible.

        Raises:
            OSError: it cannot be read.
        """
        document = self._read(self._path())
        return None if document is None else _parse_backup(document)

    def write(self, backup: Backup) -> None:
        """Note *backup*; what is noted already stays.

        Raises:
            OSError: the file cannot be written.
        """
        path = self._path()
        whole = {**_render_backup(backup), **_render_backup(self.read() or Backup()), **self._keys}
        write_whole(path, self._aside(path), encode(whole).encode())

    def remove(self) -> None:
        """Remove the file; none is no error.

        Raises:
            OSError: it cannot be removed.
        """
        path = self._path()
        remove_if_any(path)
        remove_if_any(self._aside(path))

    def _aside(self, path: str) -> str:
        return path + aside_of(self._keys["network"])

    def _path(self) -> str:
        """Return the path of the file: the first name, unless that is another attachment's."""
        first, second = (f"{self._directory}/{name}" for name in self._names)
        if read_if_any(second) is not None:
            return second
        document = self._read(first) or {}
        is_own = all(document.get(key, value) == value for key, value in self._keys.items())
        return first if is_own else second

    def _read(self, path: str) -> "dict[str, object] | None":
        data = read_if_any(path)
        return None if data is None else _decode(data)


def _names(network: str, container_id: str, ifname: str) -> tuple[str, str]:
    """Return both names that the file of an attachment may have."""
    mark = attachment_mark(network, container_id, ifname)
    return f"{container_id}_{ifname}{_END}", f"{sha512_hex(mark)[:_DIGITS]}{_END}"


def aside_of(network: str) -> str:
    """Return what the names of a network's files end with while they are being written."""
    return f".{sha512_hex(network)[:_DIGITS]}{_ASIDE}"


def remove_garbage(directory: str, config: "NetConf") -> None:
    """Remove the files of attachments of a network that are not valid any more.

    Raises:
        OSError: one of them cannot be removed.
    """
    valid = {(each.container_id, each.ifname) for each in config.valid_attachments or ()}
    kept = {name for each in valid for name in _names(config.name, *each)}
    aside = aside_of(config.name)
    for name in names_in(directory):
        path = f"{directory}/{name}"
        if name.endswith(aside):
            is_garbage = name.removesuffix(aside) not in kept
        else:
            is_garbage = name.endswith(_END) and _is_garbage(path, config.name, valid)
        if is_garbage:
            remove_if_any(path)


def _is_garbage(path: str, network: str, valid: set[tuple[str, str]]) -> bool:
    """Tell whether a file is of *network*, and of no valid attachment."""
    document = _decode(read_if_any(path) or b"")
    owner = (document.get("containerID"), document.get("ifname"))
    return document.get("network") == network and owner not in valid


def _decode(data: bytes) -> "dict[str, object]":
    """Return the object in *data*, empty for anything else: the file was torn."""
    try:
        return decode(data, "backup")
    except CniError:
        return {}


def _render_backup(backup: Backup) -> "dict[str, object]":
    document = {
        "mac": backup.mac,
        "promisc": backup.promisc,
        "mtu": backup.mtu_bytes,
        "allmulti": backup.allmulti,
        "txQLen": backup.txqlen,
    }
    return {key: value for key, value in document.items() if value is not None}


def _parse_backup(document: "dict[str, object]") -> Backup | None:
    fields = Fields(document)
    try:
        return Backup(
            mac=fields.text("mac") or None,
            mtu_bytes=fields.integer("mtu"),
            promisc=fields.boolean("promisc") if fields.has("promisc") else None,
            allmulti=fields.boolean("allmulti") if fields.has("allmulti") else None,
            txqlen=fields.integer("txQLen"),
        )
    except CniError:  # as after a torn write: nothing can be given back
        return None
