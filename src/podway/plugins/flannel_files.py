"""Configurations that ADD delegated with, kept for DEL, CHECK and GC.

In: container, interface, and a document. Out: the document again. Called by `flannel_calls`. The
original keeps one file for each container, so two attachments of one container overwrite each
other's. Here each has its own, beside a copy where the original looks, so that a node can change
between the two at any time::

    <dataDir>/c1           the original's; or a copy of one of those below
              c1:/eth0     podway's own; no container's ID has a colon

No fsync: a file that a power cut tore is one whose container is gone too. A torn file counts as
one that says nothing, which is not the same as no file.
"""

import posix

from podway.cni.documents import decode, encode
from podway.cni.errors import CniError
from podway.cni.values import Value
from podway.plugins.host_local_index import read_file
from podway.plugins.state_files import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

# Of a file that is being written: no interface has a colon in its name.
_ASIDE: "Final" = ":new"


class Attachment(Value):
    """Whose a kept configuration is; the original's files do not tell the interface."""

    container_id: str
    ifname: str


class KeptConf(Value):
    """What is kept for an attachment.

    Attributes:
        document: None for a torn file, or one of another network.
    """

    document: "Mapping[str, Any] | None"


class KeptConfs:
    """The kept configurations of one ``dataDir``, as far as they are of network *network*."""

    def __init__(self, data_dir: str, network: str) -> None:
        self._data_dir = data_dir
        self._network = network

    def keep(self, owner: Attachment, document: "Mapping[str, Any]") -> None:
        """Keep *document* until `forget`.

        Raises:
            OSError: it cannot be written.
        """
        content = encode(document).encode()
        self._write(self._path(owner), owner, content)
        if not _parse(self._read_shared(owner.container_id)):
            self._write(self._shared_path(owner.container_id), owner, content)

    def find(self, owner: Attachment) -> KeptConf | None:
        """Return what is kept for *owner*, None for nothing."""
        own = _read(self._path(owner))
        shared = self._read_shared(owner.container_id)
        if own is None and self._is_foreign(shared):
            # A copy of another interface's, or written by the original over ours?
            shared = None if shared in self._contents_of_others(owner) else shared
        if own is None and shared is None:
            return None
        return KeptConf(document=self._parse(own) or self._parse(shared))

    def forget(self, owner: Attachment) -> None:
        """Let nothing be kept for *owner*; what the original should see of others stays.

        Args:
            owner: whose; with ifname "" of the file where the original looks, unless it is a copy.
        """
        own = _read(self._path(owner)) if owner.ifname else None
        if own is not None:
            _remove(self._path(owner))
        others = self._contents_of_others(owner)
        if self._is_copy(own, self._read_shared(owner.container_id), others):
            if others:
                self._write(self._shared_path(owner.container_id), owner, others[0])
            else:
                _remove(self._shared_path(owner.container_id))
        if not others:
            _remove_directory(self._directory(owner.container_id))

    def _is_copy(self, own: bytes | None, shared: bytes | None, others: "list[bytes]") -> bool:
        """Tell whether the container's shared file goes with the attachment that has *own*."""
        if shared is None or (own is not None and own == shared):
            return shared is not None
        if shared in others or self._is_foreign(shared):
            return False
        return own is None or _parse(shared) is None

    def all(self) -> "Iterator[Attachment]":
        """Yield whose configurations are kept; ifname is "" for files where the original looks.

        Torn files are left out: they may be of another network.
        """
        try:
            names = posix.listdir(self._data_dir)
        except FileNotFoundError:
            return
        for name in names:
            container_id, colon, _ = name.partition(":")
            if not colon:
                if self._parse(self._read_shared(container_id)) is not None:
                    yield Attachment(container_id=container_id, ifname="")
                continue
            ifnames = self._ifnames(container_id)
            if not ifnames:
                # Left by a process that was killed before it had written anything.
                yield Attachment(container_id=container_id, ifname="")
            for ifname in ifnames:
                owner = Attachment(container_id=container_id, ifname=ifname)
                if self._parse(_read(self._path(owner))) is not None:
                    yield owner

    def _contents_of_others(self, owner: Attachment) -> "list[bytes]":
        """Return what is kept for other interfaces of the container."""
        names = (name for name in self._ifnames(owner.container_id) if name != owner.ifname)
        owners = (Attachment(container_id=owner.container_id, ifname=name) for name in names)
        return [content for each in owners if (content := _read(self._path(each)))]

    def _is_foreign(self, content: bytes | None) -> bool:
        """Tell whether *content* is another network's, and whole."""
        document = _parse(content)
        return document is not None and document.get("name") != self._network

    def _parse(self, content: bytes | None) -> "Mapping[str, Any] | None":
        """Return a document of this network, None for anything else."""
        return None if self._is_foreign(content) else _parse(content)

    def _ifnames(self, container_id: str) -> "list[str]":
        try:
            names = posix.listdir(self._directory(container_id))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if ":" not in name)

    def _read_shared(self, container_id: str) -> bytes | None:
        return _read(self._shared_path(container_id))

    def _write(self, path: str, owner: Attachment, content: bytes) -> None:
        """Replace what is at *path*, in one step."""
        write_whole(path, self._path(owner) + _ASIDE, content)

    def _directory(self, container_id: str) -> str:
        return f"{self._data_dir}/{container_id}:"

    def _path(self, owner: Attachment) -> str:
        return f"{self._directory(owner.container_id)}/{owner.ifname}"

    def _shared_path(self, container_id: str) -> str:
        return f"{self._data_dir}/{container_id}"


def _parse(content: bytes | None) -> "Mapping[str, Any] | None":
    """Return the document in a file, None if it is torn or no configuration."""
    if not content:
        return None
    try:
        document = decode(content, "kept configuration")
    except CniError:
        return None
    is_whole = all(isinstance(document.get(key), str) for key in ("type", "name"))
    return document if is_whole else None


def _read(path: str) -> bytes | None:
    """Return what is in a file, None if there is none."""
    try:
        posix.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return read_file(path)


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return


def _remove_directory(path: str) -> None:
    """Remove a directory and what a process that was killed left in it."""
    try:
        for name in posix.listdir(path):
            _remove(f"{path}/{name}")
        posix.rmdir(path)
    except FileNotFoundError:
        return
