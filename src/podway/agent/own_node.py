"""This node: what it was granted, where it stands by that, and whose addresses it serves.

In: the network as heard, the lease as granted, the uplink as found, the pods as attached. Out: the
`Place` from which everything in the kernel is computed; None while these do not fit each other.
"""

from podway.agent.cluster import Cluster
from podway.agent.endpoints import Endpoints
from podway.agent.ipam import Ipam
from podway.agent.lookout import Lookout
from podway.agent.memory import Memory
from podway.agent.place import place_of
from podway.agent.settings import Settings
from podway.compute.node import Place
from podway.compute.subnets import is_drained
from podway.kernel.logs import Log
from podway.model.endpoints import Endpoint
from podway.model.nodes import Node


class OwnNode:
    """One node as its own agent knows it.

    Attributes:
        me: as it was granted last; None before the first lease.
    """

    def __init__(  # noqa: PLR0917  (the parts of one agent)
        self,
        settings: Settings,
        cluster: Cluster,
        endpoints: Endpoints,
        ipam: Ipam,
        lookout: Lookout,
        memory: Memory,
        log: Log,
    ) -> None:
        self.me: Node | None = None
        self._settings = settings
        self._cluster = cluster
        self._endpoints = endpoints
        self._ipam = ipam
        self._lookout = lookout
        self._memory = memory
        self._log = log

    def recall(self) -> None:
        """Start from what was granted in a former life."""
        mine = self._memory.me(self._settings.node)
        if mine is not None:
            self._become(mine)

    def granted(self, node: Node) -> None:
        """Take in that the store now holds this node as *node*."""
        before = self._ipam.subnets
        if node != self.me:
            subnets = ",".join(str(lease.subnet) for lease in node.leases)
            self._log.info("lease granted", node=node.name, subnets=subnets)
        self._become(node)
        self._memory.keep_me(node)
        if self._ipam.subnets != before and (count := len(self.stranded())):
            lost = ",".join(map(str, before.values()))
            self._log.error("pods are cut off: the node has another subnet", pods=count, was=lost)

    def place(self) -> Place | None:
        """Return where the node stands by what is known now; None while that does not fit."""
        network, me, uplink = self._cluster.network, self.me, self._lookout.uplink
        if network is None or me is None or uplink is None:
            return None
        if me.backend != network.backend_name:
            return None
        pods = self._endpoints
        return place_of(
            self._settings,
            network,
            me,
            uplink,
            bridged=pods.bridged > 0,
            bridged_mtus=pods.bridged_mtus,
        )

    def is_drained(self) -> bool:
        """Tell whether the network wants a subnet of this node's back."""
        network, subnets = self._cluster.network, self._ipam.subnets.values()
        return network is not None and any(is_drained(network, subnet) for subnet in subnets)

    def stranded(self) -> list[Endpoint]:
        """Return the endpoints whose addresses are not (all) in the node's subnets any more.

        They keep running, with their addresses, which may be another node's pods' by now; so none
        of their packets leaves the node, and only making them anew helps.
        """
        return [each for each in self._endpoints if self._ipam.is_outside(each.addresses)]

    def _become(self, node: Node) -> None:
        self.me = node
        self._ipam.set_subnets({lease.family: lease.subnet for lease in node.leases})
