"""Another store's state in the hub's own words, so that the feed can serve it to any number.

In: the events of one watch of that store. Out: `Record`s for the feed, and a `State` to open new
watchers from. Nothing is on a disk, and revisions are this process's own: a hub that starts anew is
another store to its clients, who then take everything anew. So is one whose store was put back to a
backup; that is how its clients know that what is missing may only not have come back yet.
"""

from collections.abc import Iterable, Sequence
from secrets import token_hex

from podway.hub.ledger import Outcome
from podway.hub.state import TOMBSTONES_MAX, Record, State
from podway.model.networks import Network
from podway.model.nodes import Node
from podway.store.codec import decode_node, encode_network, encode_node
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    NETWORK_NAME,
    AnyRequest,
)
from podway.store.protocol import Delta, Snapshot, StoreError


class MirrorState(State):
    """A state in which nodes may hold whatever another store lets them: nothing is decided here."""

    def _apply_node(self, record: Record) -> None:
        nodes = self.holdings.nodes
        if record.value is None:
            nodes.pop(record.name, None)
        else:
            nodes[record.name] = decode_node(record.value)


class Mirror:
    """What is known of another store; takes the place of a `Ledger`.

    Attributes:
        state: what is known.
        store_id: names this knowledge; another one begins with another name.
        complete: the whole of it has been heard.
        failure: why the other store cannot be asked now.
        failures: times that it went away.
        commits: events heard.
    """

    def __init__(self) -> None:
        self.state: State = MirrorState()
        self.store_id = token_hex(16)
        self.complete = False
        self.failure: StoreError | None = None
        self.failures = 0
        self.commits = 0

    def run(self, requests: Sequence[AnyRequest]) -> tuple[list[Outcome], tuple[Record, ...]]:
        """Do nothing: there is nothing to expire, and requests go to the other store."""
        assert not requests, "requests go to the other store"
        return [], ()

    def close(self) -> None:
        """Do nothing: there is no file."""

    def begin_anew(self) -> None:
        """Forget everything, and be another store."""
        self.state = MirrorState()
        self.store_id = token_hex(16)
        self.complete = False

    def take(self, event: Snapshot | Delta) -> tuple[Record, ...]:
        """Take *event* in; return what it changes."""
        self.commits += 1
        if isinstance(event, Snapshot):
            nodes = {node.name: node for node in event.nodes}
            gone = self.state.holdings.nodes.keys() - nodes.keys()
            changes = [*((name, None) for name in sorted(gone)), *nodes.items()]
            self.complete = True
        else:
            changes = [(change.name, change.node) for change in event.changes]
        self.state.network_error = event.network_error
        records = [*self._take_network(event.network), *self._take_nodes(changes)]
        if self.state.tombstones > TOMBSTONES_MAX:
            self.state.compact(TOMBSTONES_MAX // 2)
        return tuple(records)

    def _take_network(self, network: Network | None) -> Iterable[Record]:
        if network is not None and network != self.state.network:
            yield self._apply(KIND_CONFIG, NETWORK_NAME, encode_network(network))

    def _take_nodes(self, changes: Sequence[tuple[str, Node | None]]) -> Iterable[Record]:
        for name, node in changes:
            if self.state.holdings.nodes.get(name) != node:
                yield self._apply(KIND_NODE, name, None if node is None else encode_node(node))

    def _apply(self, kind: str, name: str, value: bytes | None) -> Record:
        record = Record(kind, name, self.state.revision + 1, value)
        self.state.apply(record)
        return record
