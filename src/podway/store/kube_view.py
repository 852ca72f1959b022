"""The cluster as Kubernetes' Nodes and the network's configuration make it together.

In: lists and events of Nodes, the configuration. Out: `Snapshot`s and `Delta`s for the agent, and
only when something is new to it: a heartbeat, a label, somebody else's annotation is not. A Node
that cannot be used (an annotation that nobody can read, a subnet outside of the network) is left
out, remembered with the reason, and logged once; it does not take the others with it.

Of a Node of ours something else may be told than it says: what it is to say as soon as who claimed
it has claimed anew (see `mean`).
"""

import logging
from collections.abc import Iterable

from msgspec.structs import replace

from podway.model.networks import Network
from podway.model.nodes import Node
from podway.store.counts import StoreCounts
from podway.store.flannel_data import FlannelDataError
from podway.store.kube_annotations import parse_node
from podway.store.kube_cache import NodeCache
from podway.store.kube_objects import NodeRecord, WatchEvent
from podway.store.net_conf_file import NetConf
from podway.store.protocol import Change, Delta, Snapshot

_log = logging.getLogger("podway.store.kubernetes")


class ClusterView:
    """What is known of the cluster.

    Attributes:
        cache: the Nodes.
        nodes: those on the network, by name, as they say of themselves.
        skipped: why others cannot be used, by name.
        listed: the Nodes were heard at least once.
    """

    def __init__(self, counts: StoreCounts | None = None) -> None:
        self._counts = counts or StoreCounts()
        self.cache = NodeCache()
        self.nodes: dict[str, Node] = {}
        self.skipped: dict[str, str] = {}
        self.listed = False
        self._meant: dict[str, Node] = {}
        self._conf = NetConf(None)

    @property
    def network(self) -> Network | None:
        """The network that is in force."""
        return self._conf.network

    def replace(
        self, records: Iterable[NodeRecord], revision: int, *, rewound: bool = False
    ) -> Snapshot:
        """Take a whole list of Nodes; return the state of the cluster.

        Args:
            records: the Nodes.
            revision: of which the list is.
            rewound: a backup was put back; what the list lacks may only not be there again yet.
        """
        self.cache.replace(records, revision, rewound=rewound)
        self.listed = True
        return replace(self._snapshot(), rewound=rewound)

    def configure(self, conf: NetConf) -> Snapshot | Delta | None:
        """Take the configuration; return what that changes.

        One that cannot be used leaves the last good one in force.
        """
        if conf.network is None and self._conf.network is not None:
            self._conf = NetConf(self._conf.network, conf.error)
            return Delta(revision=self.cache.revision, network_error=conf.error)
        self._conf = conf
        return self._snapshot() if self.listed else None

    def take(self, event: WatchEvent) -> Delta | None:
        """Take one event of the watch; return what it changes for the agent."""
        return self._delta(self.cache.take(event))

    def keep(self, record: NodeRecord) -> Delta | None:
        """Take a Node that was read or written apart from the watch; return what that changes."""
        return self._delta(self.cache.keep(record))

    def mean(self, name: str, node: Node | None) -> Delta | None:
        """Tell of *name* as *node*, as long as it is on the network; None: as it says itself.

        Returns what that changes.
        """
        before = self._told(name)
        if node is not None:
            self._meant[name] = node
        else:
            self._meant.pop(name, None)
        return self._change(name, before)

    def _delta(self, name: str | None) -> Delta | None:
        if name is None:
            return None
        before, said = self._told(name), self._read(name)
        if said is not None:
            self.nodes[name] = said
        else:
            self.nodes.pop(name, None)
        return self._change(name, before)

    def _told(self, name: str) -> Node | None:
        said = self.nodes.get(name)
        return None if said is None else self._meant.get(name, said)

    def _change(self, name: str, before: Node | None) -> Delta | None:
        after = self._told(name)
        if after == before:
            return None
        return Delta(revision=self.cache.revision, changes=(Change(name, after),))

    def _snapshot(self) -> Snapshot:
        names = [record.name for record in self.cache]
        self.skipped = {name: self.skipped[name] for name in names if name in self.skipped}
        found = {name: self._read(name) for name in names}
        self.nodes = {name: node for name, node in found.items() if node is not None}
        self._counts.malformed = len(self.skipped)
        return Snapshot(
            revision=self.cache.revision,
            network=self._conf.network,
            nodes=tuple(self._meant.get(name, node) for name, node in self.nodes.items()),
            network_error=self._conf.error,
        )

    def _read(self, name: str) -> Node | None:
        """Return the node called *name* as it is now, None where there is none that can be used."""
        record = self.cache.get(name)
        node, reason = None, ""
        if record is not None:
            node, reason = read_node(record, self._conf.network)
        if reason and self.skipped.get(name) != reason:
            self._counts.passed_over += 1
            _log.warning("node passed over", extra={"fields": {"node": name, "reason": reason}})
        self.skipped.pop(name, None)
        if reason:
            self.skipped[name] = reason
        self._counts.malformed = len(self.skipped)
        return node


def read_node(record: NodeRecord, network: Network | None) -> tuple[Node | None, str]:
    """Return the node of *record*, or None, and why it cannot be used where it wants to be."""
    try:
        return parse_node(record, network), ""
    except FlannelDataError as error:
        return None, str(error)
