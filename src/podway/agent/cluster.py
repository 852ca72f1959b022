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

    def hear(self, event: Snapshot | Delta) -> set[str]:
        """Take in what the store says; return the names of the nodes that it changes."""
        if isinstance(event, Snapshot):
            changed = self._replace({node.name: node for node in event.nodes})
            self.network = event.network
            self.network_error = event.network_error
            self.complete = True
        else:
            changed = {c.name for c in event.changes if self._set(c.name, c.node)}
            if event.network is not None or event.network_error:
                self.network = event.network or self.network
                self.network_error = event.network_error
        self.revision = event.revision
        self.dirty |= changed
        return changed

    def take_dirty(self) -> set[str]:
        """Return the names that changed since the last call."""
        dirty, self.dirty = self.dirty, set()
        return dirty

    def _replace(self, nodes: dict[str, Node]) -> set[str]:
        gone = self.nodes.keys() - nodes.keys()
        return {name for name in (*gone, *nodes) if self._set(name, nodes.get(name))}

    def _set(self, name: str, node: Node | None) -> bool:
        if self.nodes.get(name) == node:
            return False
        if node is None:
            del self.nodes[name]
        else:
            self.nodes[name] = node
        return True
