"""From the frames of the watched stream to store events, and where to resume it.

In: frames of one connection after the other. Out: `Snapshot`s and `Delta`s into a `Mailbox`.
A node that cannot be read (written by a newer version) is left out, with a warning, and does not
take the others with it; a network that cannot be used travels as its error.
"""

import logging

from podway.errors import ConfigError
from podway.model.networks import Network, parse_network
from podway.model.nodes import Node
from podway.store.codec import CodecError, decode_node
from podway.store.connection import StreamFrame
from podway.store.frames import (
    Changed,
    Deltas,
    Resumed,
    SnapshotEnd,
    SnapshotPart,
    SnapshotStart,
)
from podway.store.mailbox import Mailbox
from podway.store.net_conf_remarks import tell_unknown_keys
from podway.store.protocol import Change, Delta, Snapshot

_log = logging.getLogger("podway.store.hub")


class Stream:
    """The stream of one watcher, over any number of connections.

    Attributes:
        mailbox: where the events go.
        store_id: of the store that the revision belongs to; empty before the first snapshot.
        revision: the last that was delivered whole.
    """

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.store_id = ""
        self.revision = 0
        self._connected_to = ""
        self._building: _Building | None = None

    def begin(self, store_id: str) -> None:
        """Take frames of a new connection, to *store_id*; what was half there is void."""
        self._connected_to = store_id
        self._building = None

    def take(self, frame: StreamFrame) -> None:
        """Take the next *frame*."""
        match frame:
            case SnapshotStart():
                self._building = _Building(frame.network)
            case SnapshotPart():
                if self._building is not None:
                    self._building.add(frame)
            case SnapshotEnd():
                self._finish(frame.revision)
            case Deltas():
                self._take_deltas(frame)
            case Resumed():
                pass

    def _finish(self, revision: int) -> None:
        if self._building is not None:
            is_other = self.store_id not in {"", self._connected_to}
            rewound = is_other or revision < self.revision
            self.mailbox.put(self._building.snapshot(revision, rewound=rewound))
            self.store_id, self.revision = self._connected_to, revision
        self._building = None

    def _take_deltas(self, frame: Deltas) -> None:
        if self._building is not None:
            self._building.change(frame)
            return
        network, error = _parse(frame.network)
        changes = tuple(_change(changed) for changed in frame.changes)
        if changes or network is not None or error:
            self.mailbox.put(
                Delta(
                    revision=frame.revision, changes=changes, network=network, network_error=error
                )
            )
        self.revision = frame.revision


class _Building:
    """A snapshot that is not complete yet."""

    def __init__(self, network: str | None) -> None:
        self._network = network
        self._nodes: dict[str, Node] = {}

    def add(self, part: SnapshotPart) -> None:
        for value in part.nodes:
            try:
                node = decode_node(value)
            except CodecError as error:
                _warn("?", error)
            else:
                self._nodes[node.name] = node

    def change(self, frame: Deltas) -> None:
        """Take in what changed after the parts were made."""
        if frame.network is not None:
            self._network = frame.network
        for change in map(_change, frame.changes):
            self._nodes.pop(change.name, None)
            if change.node is not None:
                self._nodes[change.name] = change.node

    def snapshot(self, revision: int, *, rewound: bool) -> Snapshot:
        network, error = _parse(self._network)
        nodes = tuple(self._nodes.values())
        return Snapshot(
            revision=revision,
            network=network,
            nodes=nodes,
            network_error=error,
            rewound=rewound,
        )


def _parse(text: str | None) -> tuple[Network | None, str]:
    if text is None:
        return None, ""
    try:
        network = parse_network(text)
    except ConfigError as error:
        return None, f"the network configuration in the store cannot be used: {error}"
    tell_unknown_keys(text)
    return network, ""


def _change(changed: Changed) -> Change:
    if changed.node is None:
        return Change(changed.name, None)
    try:
        return Change(changed.name, decode_node(changed.node))
    except CodecError as error:
        _warn(changed.name, error)
        return Change(changed.name, None)


def _warn(name: str, error: CodecError) -> None:
    _log.warning("node passed over", extra={"fields": {"node": name, "reason": str(error)}})
