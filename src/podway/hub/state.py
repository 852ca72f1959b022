"""All that the hub knows, in memory: what is on its disk, indexed for the questions it is asked.

In: `Record`s, in the order of their revisions, at start from the disk and then as they are
committed. Out: objects by key, the network, what nodes hold, what changed since a revision.
`plans` reads it to decide; only `ledger` changes it.

A removed object stays as a record without a value, so that a watcher that comes back can be told.
Records lie in the order of their revisions, so what changed since one is the end of the table:
there is no second log to keep in step. Compaction drops the oldest removals; who last saw an older
revision than that gets a snapshot.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from podway.compute.holdings import Holdings
from podway.errors import ConfigError
from podway.hub.terms import Term, Terms
from podway.model.networks import Network, parse_network
from podway.store.codec import decode_node, decode_subnets
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    KIND_RESERVATION,
    NETWORK_NAME,
)

# Removals that are remembered; a node is seldom removed, so this is the history of years.
TOMBSTONES_MAX = 10_000


class Record(Struct, frozen=True):
    """One object at one revision; *value* None: it was removed then."""

    kind: str
    name: str
    revision: int
    value: bytes | None


class State:
    """The objects of the hub and the indexes over them."""

    def __init__(
        self, records: Iterable[Record] = (), terms: Iterable[Term] = (), compacted: int = 0
    ) -> None:
        self.revision = compacted
        self.compacted = compacted
        self.holdings = Holdings()
        self.network: Network | None = None
        self.network_text: str | None = None
        self.network_error = ""
        self.terms = Terms(terms)
        self.tombstones = 0
        self._records: dict[tuple[str, str], Record] = {}
        for record in records:
            self.apply(record)

    def get(self, kind: str, name: str) -> Record | None:
        """Return the object's record, or None when there is no such object (any more)."""
        record = self._records.get((kind, name))
        return None if record is None or record.value is None else record

    def records(self, kind: str) -> Iterator[Record]:
        """Yield every object of *kind*, the one changed longest ago first."""
        return (r for r in self._records.values() if r.kind == kind and r.value is not None)

    def since(self, revision: int) -> tuple[Record, ...]:
        """Return what changed after *revision*, oldest first; removals are there, too."""
        newer = []
        for record in reversed(self._records.values()):
            if record.revision <= revision:
                break
            newer.append(record)
        return tuple(reversed(newer))

    def can_resume(self, revision: int) -> bool:
        """Tell whether `since(revision)` is complete."""
        return self.compacted <= revision <= self.revision

    def apply(self, record: Record) -> None:
        """Make *record*, the newest of all, part of the state."""
        key = (record.kind, record.name)
        old = self._records.pop(key, None)
        self._records[key] = record
        self.revision = record.revision
        self.tombstones += (record.value is None) - (old is not None and old.value is None)
        if record.kind == KIND_NODE:
            self._apply_node(record)
        elif record.kind == KIND_RESERVATION:
            subnets = () if record.value is None else decode_subnets(record.value)
            self.holdings.set_reservation(record.name, subnets)
        elif key == (KIND_CONFIG, NETWORK_NAME):
            self._apply_network(record)

    def _apply_node(self, record: Record) -> None:
        if record.value is None:
            self.terms.remove(record.name)
        node = None if record.value is None else decode_node(record.value)
        self.holdings.set_node(record.name, node)

    def _apply_network(self, record: Record) -> None:
        assert record.value is not None, "the network configuration is never removed"
        self.network_text = record.value.decode()
        self.network, self.network_error = None, ""
        try:
            self.network = parse_network(self.network_text)
        except ConfigError as error:  # stored by a newer hub, or an older one with fewer rules
            self.network_error = str(error)

    def compact(self, keep: int) -> int:
        """Forget all but the last *keep* removals; return the revision of the last forgotten."""
        tombstones = [record for record in self._records.values() if record.value is None]
        for record in tombstones[: max(0, len(tombstones) - keep)]:
            del self._records[record.kind, record.name]
            self.compacted = record.revision
            self.tombstones -= 1
        return self.compacted
