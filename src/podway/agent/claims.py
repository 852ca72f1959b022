"""What this node should claim, from what is known now: its network, its uplink, itself.

In: the cluster as heard, the node's last lease, the uplink. Out: a `Claim`, or None with the reason
why nobody can know yet. What only this node knows of itself is put in: the WireGuard key, what the
operator's first program printed, the MACs by which peers know it already.
"""

from collections.abc import Mapping

from podway.agent.cluster import Cluster
from podway.agent.ipam import Ipam
from podway.agent.leases import make_claim
from podway.agent.programs import FirstProgram
from podway.agent.settings import Settings, wireguard_key_file
from podway.agent.subnet_env import wishing_for
from podway.agent.takeover import TakeOver
from podway.errors import ConfigError
from podway.kernel.wireguard_keys import WireguardKey
from podway.model.addresses import Family, IPNetwork
from podway.model.networks import ExtensionConfig, Network, VxlanConfig, WireguardConfig
from podway.model.nodes import Claim, Identity, Node, Uplink, VtepData


class Claims:
    """Makes one node's claims.

    Args:
        settings: of the operator.
        ipam: knows which subnets no pod uses any more.
        prepare: runs the operator's first program.
        former: subnets that another agent of this node had, or this one under another name.
        take_over: knows the devices of a flanneld; None: there is none.

    Attributes:
        error: why no lease can be claimed, for people.
    """

    def __init__(
        self,
        settings: Settings,
        ipam: Ipam,
        prepare: FirstProgram,
        *,
        former: Mapping[Family, IPNetwork],
        take_over: TakeOver | None,
    ) -> None:
        self.error = ""
        self._settings = settings
        self._ipam = ipam
        self._prepare = prepare
        self._former = former
        self._take_over = take_over
        self._wireguard_key = WireguardKey(wireguard_key_file(settings))

    def wanted(self, cluster: Cluster, me: Node | None, uplink: Uplink | None) -> Claim | None:
        """Return what to claim now, None while nobody can know."""
        network, settings = cluster.network, self._settings
        if network is None or uplink is None or not cluster.complete:
            return None
        try:
            claim = make_claim(
                self._identity(network, me or cluster.nodes.get(settings.node)),
                network,
                uplink,
                named=settings.public_ips,
                me=me,
                ttl_s=settings.lease_ttl_s,
                # Pods of other plugins are not known here.
                unused=() if settings.foreign_pods else self._ipam.unused(),
            )
        except ConfigError as error:
            self.error = str(error)
            return None
        self.error = ""
        return claim if me is not None else wishing_for(claim, self._former)

    def _identity(self, network: Network, published: Node | None) -> Identity:
        """Return what only this node knows of itself. Raises `ConfigError`."""
        name = self._settings.node
        match network.backend:
            case VxlanConfig(vni=vni):
                return Identity(name=name, macs=tuple(self._vtep_macs(vni, published).items()))
            case WireguardConfig():
                return Identity(name=name, wireguard_key=self._wireguard_key.public())
            case ExtensionConfig(pre_startup=command):
                return Identity(name=name, extension=self._prepare.output(command))
            case _:
                return Identity(name=name)

    def _vtep_macs(self, vni: int, published: Node | None) -> dict[Family, str]:
        """Return by which MACs peers know this node: what was published, or what was there."""
        macs = self._take_over.macs(vni) if self._take_over is not None else {}
        for lease in published.leases if published is not None else ():
            if isinstance(lease.data, VtepData) and lease.data.vni == vni:
                macs[lease.family] = lease.data.mac
        return macs
