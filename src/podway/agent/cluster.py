"""What the store has said so far, and which parts of it are new: values in, marks out.

Any order, merging or repetition of events leads to the same state; what is dirty is at most one
mark per node, however many events there were.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from podway.model.addresses import Family, IPNetwork, family_of
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
        others, taken = self.nodes.keys() - nodes.keys(), _Taken(nodes.values())
        return {name: self.nodes[name] for name in others if not taken.is_at_odds(self.nodes[name])}

    def _yield_to(self, nodes: Sequence[Node]) -> set[str]:
        """Let go of missing nodes whose subnet or address one of *nodes* has; return them."""
        taken = _Taken(nodes)
        gone = {name for name in self.missing if taken.is_at_odds(self.nodes[name])}
        self.missing -= gone
        return {name for name in gone if self._set(name, None)}

    def _set(self, name: str, node: Node | None) -> bool:
        if self.nodes.get(name) == node:
            return False
        if node is None:
            del self.nodes[name]
        else:
            self.nodes[name] = node
        return True


class _Taken:
    """What some nodes have, in an order in which it costs little to ask of one more."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        leases = [lease for node in nodes for lease in node.leases]
        self._addresses = {lease.public_ip for lease in leases}
        self._subnets = {lease.subnet for lease in leases}
        self._lengths = sorted({subnet.prefixlen for subnet in self._subnets})
        self._starts = {
            family: sorted(
                int(each.network_address) for each in self._subnets if family_of(each) is family
            )
            for family in Family
        }

    def is_at_odds(self, node: Node) -> bool:
        """Tell whether *node* wants a subnet that overlaps theirs, or has an address of theirs."""
        return any(
            lease.public_ip in self._addresses
            or self._has_around(lease.subnet)
            or self._has_inside(lease.subnet)
            for lease in node.leases
        )

    def _has_around(self, subnet: IPNetwork) -> bool:
        return any(
            subnet.supernet(new_prefix=length) in self._subnets
            for length in self._lengths
            if length <= subnet.prefixlen
        )

    def _has_inside(self, subnet: IPNetwork) -> bool:
        starts = self._starts[family_of(subnet)]
        at = bisect_left(starts, int(subnet.network_address))
        return at < len(starts) and starts[at] <= int(subnet.broadcast_address)
