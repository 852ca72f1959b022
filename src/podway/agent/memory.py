"""The cluster as this node last saw it, kept on its disk: what it starts from without the store.

In: the network, nodes and the node's own lease, as they change. Out: the same after a restart. A
cache and no more: what is not readable to this version comes from the store. What the disk refuses
is owed to it, and written with the next change, or when somebody asks whether it can be now.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from podway.agent.cluster import Cluster
from podway.agent.ledger import Ledger, LedgerError
from podway.kernel.logs import Log
from podway.model.addresses import Family, IPNetwork
from podway.model.networks import Network
from podway.model.nodes import Node
from podway.store.codec import (
    CodecError,
    decode_network,
    decode_node,
    encode_network,
    encode_node,
)

T = TypeVar("T")


class Memory:
    """Keeps the cluster's state in *ledger*."""

    def __init__(self, ledger: Ledger, log: Log) -> None:
        self._ledger = ledger
        self._log = log
        # What the disk has not taken, by kind and name.
        self._owed: dict[tuple[str, str], bytes | None] = {}

    def network(self) -> Network | None:
        """Return the network as last kept."""
        return self._recalled("network", decode_network).get("")

    def nodes(self) -> dict[str, Node]:
        """Return all nodes as last kept."""
        return self._recalled("node", decode_node)

    def me(self, name: str) -> Node | None:
        """Return what was last granted to this node, called *name*."""
        return self._recalled("me", decode_node).get(name)

    def former_subnets(self, name: str) -> dict[Family, IPNetwork]:
        """Return the subnets that this node had under another name than *name*.

        Its pods still live in them.
        """
        others = [node for node in self._recalled("me", decode_node).values() if node.name != name]
        return {lease.family: lease.subnet for node in others for lease in node.leases}

    def keep(self, cluster: Cluster, names: Iterable[str], before: Network | None) -> None:
        """Keep the nodes of *cluster* with *names*, and its network if it is not as *before*."""
        changes: list[tuple[str, str, bytes | None]] = []
        for name in names:
            node = cluster.nodes.get(name)
            changes.append(("node", name, encode_node(node) if node is not None else None))
        network = cluster.network
        if network is not None and network != before:
            changes.append(("network", "", encode_network(network)))
        if changes:
            self._keep(changes)

    def keep_me(self, node: Node) -> None:
        """Keep what was granted to this node."""
        others = self._ledger.remembered("me").keys() - {node.name}
        self._keep([("me", node.name, encode_node(node)), *(("me", each, None) for each in others)])

    def catch_up(self) -> None:
        """Write what the disk would not take before, if there is anything."""
        if self._owed:
            self._keep([])

    def _keep(self, changes: list[tuple[str, str, bytes | None]]) -> None:
        due = {**self._owed, **{(kind, name): value for kind, name, value in changes}}
        try:
            self._ledger.remember((kind, name, value) for (kind, name), value in due.items())
        except LedgerError as error:
            if not self._owed:
                self._log.warning("cluster not remembered", reason=str(error))
            self._owed = due
        else:
            if self._owed:
                self._log.info("cluster remembered again", entries=len(due))
            self._owed = {}

    def _recalled(self, kind: str, decode: Callable[[bytes], T]) -> dict[str, T]:
        found = {}
        for name, data in self._ledger.remembered(kind).items():
            try:
                found[name] = decode(data)
            except CodecError as error:
                self._log.warning("not recalled", kind=kind, name=name, reason=str(error))
        return found
