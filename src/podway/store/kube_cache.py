"""Every Node as last seen, whatever the order in which the API server's words arrive.

In: lists and watch events. Out: which Nodes are new, changed or gone. An event may come twice, or
after a younger one of the same object (a proxy that repeats, a watch that was resumed too early,
the answer to our own write that overtook the watch); what is older than what is known is passed
over. A deletion is remembered until the stream has moved past it, so that no late event brings the
dead back.
"""

from collections.abc import Iterable, Iterator

from podway.store.kube_objects import NodeRecord, WatchEvent


class NodeCache:
    """The Nodes of the cluster by name.

    Attributes:
        revision: up to which everything is known: a watch resumes from here; 0: nothing is.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._records: dict[str, NodeRecord] = {}
        self._dead: dict[str, int] = {}

    def __iter__(self) -> Iterator[NodeRecord]:
        return iter(self._records.values())

    def get(self, name: str) -> NodeRecord | None:
        """Return the Node called *name*."""
        return self._records.get(name)

    def replace(self, records: Iterable[NodeRecord], revision: int) -> None:
        """Take a whole list, as of *revision*, in place of what was known."""
        self._records = {record.name: record for record in records}
        self._dead.clear()
        self.revision = revision

    def take(self, event: WatchEvent) -> str | None:
        """Take in *event*; return the name of the Node that it is news of, None when it is none."""
        self.revision = max(self.revision, event.revision)
        if event.record is None:
            self._bury(event.revision)
            return None
        if event.kind == "DELETED":
            return self._remove(event.record)
        return self.keep(event.record)

    def keep(self, record: NodeRecord) -> str | None:
        """Take in *record* unless a younger one is known; return its name when it is news."""
        name = record.name
        known = self._records.get(name)
        if record.revision <= max(known.revision if known else 0, self._dead.get(name, 0)):
            return None
        self._dead.pop(name, None)
        self._records[name] = record
        return name if known is None or _content(known) != _content(record) else None

    def _remove(self, record: NodeRecord) -> str | None:
        known = self._records.get(record.name)
        if known is None or record.revision < known.revision:
            return None
        self._dead[record.name] = record.revision
        del self._records[record.name]
        return record.name

    def _bury(self, revision: int) -> None:
        """Forget deletions up to *revision*: no older event can come after a bookmark."""
        for name in [name for name, dead in self._dead.items() if dead <= revision]:
            del self._dead[name]


def _content(record: NodeRecord) -> tuple[object, ...]:
    return (record.uid, record.annotations, record.pod_cidrs, record.network_unavailable)
