"""What the store has said so far, and which parts of it are new: values in, marks out.

Any order, merging or repetition of events leads to the same state; what is dirty is at most one
mark per node, however many events there were.
"""

from collections.abc import Sequence

from podway.model.addresses import prefix_contains
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
        missing: nodes that a rewound store does not know (any more, or not yet again). They are
            kept until it speaks of them, somebody has what they had, or `forget_missing`.
    """

    def __init__(self) -> None:
        self.network: Network | None = None
        self.network_error = ""
        self.nodes: dict[str, Node] = {}
        self.revision = 0
        self.complete = False
        self.dirty: set[str] = set()
        self.missing: set[str] = set()

    def recall(self, network: Network | None, nodes: dict[str, Node]) -> None:
        """Start from what a former life of this process remembers."""
        self.network = network
        self.nodes = dict(nodes)
        self.dirty |= nodes.keys()

    def hear(self, event: Snapshot | Delta) -> set[str]:
        """Take in what the store says; return the names of the nodes that it changes."""
        if isinstance(event, Snapshot):
            nodes = {node.name: node for node in event.nodes}
            kept = self._not_yet_back(nodes) if event.rewound else {}
            self.missing = set(kept)
            changed = self._replace(nodes | kept)
            self.network = event.network
            self.network_error = event.network_error
            self.complete = True
        else:
            changed = {c.name for c in event.changes if self._set(c.name, c.node)}
            self.missing -= {c.name for c in event.changes}
            changed |= self._yield_to([c.node for c in event.changes if c.node is not None])
            if event.network is not None or event.network_error:
                self.network = event.network or self.network
                self.network_error = event.network_error
        self.revision = event.revision
        self.dirty |= changed
        return changed

    def forget_missing(self) -> set[str]:
        """Let go of the nodes that have not come back; return their names."""
        gone = {name for name in self.missing if self._set(name, None)}
        self.missing = set()
        self.dirty |= gone
        return gone

    def take_dirty(self) -> set[str]:
        """Return the names that changed since the last call."""
        dirty, self.dirty = self.dirty, set()
        return dirty

    def _replace(self, nodes: dict[str, Node]) -> set[str]:
        gone = self.nodes.keys() - nodes.keys()
        return {name for name in (*gone, *nodes) if self._set(name, nodes.get(name))}

    def _not_yet_back(self, nodes: dict[str, Node]) -> dict[str, Node]:
        """Return the nodes that are not among *nodes*, and with which none of those is at odds."""
        others = self.nodes.keys() - nodes.keys()
        return {
            name: self.nodes[name]
            for name in others
            if not any(_at_odds(self.nodes[name], node) for node in nodes.values())
        }

    def _yield_to(self, nodes: Sequence[Node]) -> set[str]:
        """Let go of missing nodes whose subnet or address one of *nodes* has; return them."""
        taken = {
            name for name in self.missing if any(_at_odds(self.nodes[name], node) for node in nodes)
        }
        self.missing -= taken
        return {name for name in taken if self._set(name, None)}

    def _set(self, name: str, node: Node | None) -> bool:
        if self.nodes.get(name) == node:
            return False
        if node is None:
            del self.nodes[name]
        else:
            self.nodes[name] = node
        return True


def _at_odds(one: Node, other: Node) -> bool:
    """Tell whether two nodes want the same subnet, or are at the same address."""
    return any(
        mine.public_ip == theirs.public_ip
        or prefix_contains(mine.subnet, theirs.subnet)
        or prefix_contains(theirs.subnet, mine.subnet)
        for mine in one.leases
        for theirs in other.leases
    )
