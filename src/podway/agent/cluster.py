"""What the store has said so far, and which parts of it are new: values in, marks out.

Any order, merging or repetition of events leads to the same state; what is dirty is at most one
mark per node, however many events there were.
"""

from podway.model.networks import Network
from podway.model.nodes import Node
from podway.store.protocol import Delta, Snapshot


class Cluster:
    """The network and its nodes as last heard.

    Attributes:
        network: None until an operator has configured one.
        network_error: why a configured network cannot be used.
        nodes: by name, this node among them.
        revision: of the last event.
        complete: a complete list was heard, from the store itself and not from a former life.
        dirty: names of nodes that changed since `take_dirty`.
    """

    def __init__(self) -> None:
        self.network: Network | None = None
        self.network_error = ""
        self.nodes: dict[str, Node] = {}
        self.revision = 0
        self.complete = False
        self.dirty: set[str] = set()

    def recall(self, network: Network | None, nodes: dict[str, Node]) -> None:
        """Start from what a former life of this process remembers."""
        self.network = network
        self.nodes = dict(nodes)
        self.dirty |= nodes.keys()

    def hear(self, event: Snapshot | Delta) -> None:
        """Take in what the store says."""
        if isinstance(event, Snapshot):
            self._replace({node.name: node for node in event.nodes})
            self.network = event.network
            self.network_error = event.network_error
            self.complete = True
        else:
            for change in event.changes:
                self._set(change.name, change.node)
            if event.network is not None or event.network_error:
                self.network = event.network or self.network
                self.network_error = event.network_error
        self.revision = event.revision

    def take_dirty(self) -> set[str]:
        """Return the names that changed since the last call."""
        dirty, self.dirty = self.dirty, set()
        return dirty

    def _replace(self, nodes: dict[str, Node]) -> None:
        for name in self.nodes.keys() - nodes.keys():
            self._set(name, None)
        for name, node in nodes.items():
            self._set(name, node)

    def _set(self, name: str, node: Node | None) -> None:
        if self.nodes.get(name) == node:
            return
        if node is None:
            del self.nodes[name]
        else:
            self.nodes[name] = node
        self.dirty.add(name)
