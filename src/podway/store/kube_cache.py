"""Every Node as last seen, whatever the order in which the API server's words arrive.

In: lists and watch events. Out: which Nodes are new, changed or gone. An event may come twice, or
after a younger one of the same object (a proxy that repeats, a watch that was resumed too early,
the answer to our own write that overtook the watch); what is older than what is known is passed
over. Deletions are remembered, so that no late event or answer brings the dead back.
"""

from collections.abc import Iterable, Iterator

from podway.store.kube_objects import NodeRecord, WatchEvent

# So many deletions are remembered at most: nothing comes so late that it follows as many.
_DEAD_MAX = 1000


class NodeCache:
    """The Nodes of the cluster by name.

    Attributes:
        revision: up to which everything is known: a watch resumes from here; 0: nothing is.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._records: dict[str, NodeRecord] = {}
        self._dead: dict[str, int] = {}
        self._listed = 0

    def __iter__(self) -> Iterator[NodeRecord]:
        return iter(self._records.values())

    def get(self, name: str) -> NodeRecord | None:
        """Return the Node called *name*."""
        return self._records.get(name)

    def replace(
        self, records: Iterable[NodeRecord], revision: int, *, rewound: bool = False
    ) -> None:
        """Take a whole list, as of *revision*, in place of what was known.

        What was read or written apart may be younger than the list, and then stays; not so where
        revisions were *rewound*: there none of the old ones means anything.
        """
        known = {} if rewound else self._records
        younger = {name: record for name, record in known.items() if record.revision > revision}
        self._records = {record.name: record for record in records} | younger
        self._dead.clear()
        self._listed = 0 if rewound else revision
        self.revision = revision

    def take(self, event: WatchEvent) -> str | None:
        """Take in *event*; return the name of the Node that it is news of, None when it is none."""
        self.revision = max(self.revision, event.revision)
        if event.record is None:
            return None
        if event.kind == "DELETED":
            return self._remove(event.record)
        return self.keep(event.record)

    def keep(self, record: NodeRecord) -> str | None:
        """Take in *record* unless a younger one is known; return its name when it is news."""
        name = record.name
        known = self._records.get(name)
        # What a list did not have was not there then.
        since = known.revision if known else max(self._listed, self._dead.get(name, 0))
        if record.revision <= since:
            return None
        self._dead.pop(name, None)
        self._records[name] = record
        return name if known is None or _content(known) != _content(record) else None

    def _remove(self, record: NodeRecord) -> str | None:
        name = record.name
        known = self._records.get(name)
        if known is not None and record.revision < known.revision:
            return None
        # Put in anew: the last to die is the last in order.
        self._dead[name] = max(record.revision, self._dead.pop(name, 0))
        if len(self._dead) > _DEAD_MAX:
            del self._dead[next(iter(self._dead))]
        return name if self._records.pop(name, None) else None


def _content(record: NodeRecord) -> tuple[object, ...]:
    return (record.uid, record.annotations, record.pod_cidrs, record.network_unavailable)
