"""Backend ``extension``: the operator's own programs make peers reachable.

    PreStartupCommand    before the lease; what it prints is what peers are told   (once a start)
    PostStartupCommand   NETWORK SUBNET PUBLIC_IP ...         once the node has its lease
    SubnetAddCommand     SUBNET PUBLIC_IP ...; stdin: what the peer's first command printed
    SubnetRemoveCommand  the same, with what SubnetAddCommand was given
    ShutdownCommand      as PostStartupCommand, when the network is no longer this one

A command is a vector of arguments, cut once when it is configured and never seen by a shell. In an
argument ``$SUBNET`` or ``${SUBNET}`` stands for the variable, whatever it holds: a value is never
cut, joined or expanded again, and a dollar before any other word is a dollar. The same variables
are in the environment; those of a family that a node has not are empty. A network of several
prefixes is a list with commas, as in flannel's subnet.env.

Nothing here runs anything: what is computed are values (`Program`), and `podway.agent.programs`
runs what differs from what was done.
"""

import re
from collections.abc import Mapping

from podway.compute.plans import PeerPlan
from podway.model.addresses import Family
from podway.model.kernel import KernelObject
from podway.model.networks import ExtensionConfig, Network
from podway.model.nodes import BackendData, ExtensionData, Identity, Node, Uplink
from podway.model.programs import NODE, Command, Program, peer_program_name

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def overhead(_family: Family) -> int:
    """Return 0: what the programs do is not known here."""
    return 0


def publish(_network: Network, identity: Identity, _family: Family) -> BackendData | None:
    """Return what the first command printed; None where there is none."""
    return ExtensionData(text=identity.extension) if identity.extension else None


def compute_node(_network: Network, _me: Node, _uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return nothing: what there is to do is `compute_node_program`."""
    return ()


def compute_node_program(network: Network, me: Node) -> Program:
    """Return what is done once the node has its lease."""
    config = _config(network)
    variables = {
        "NETWORK": ",".join(map(str, network.prefixes(Family.IPV4))),
        "IPV6NETWORK": ",".join(map(str, network.prefixes(Family.IPV6))),
        **_variables(me),
    }
    return Program(
        name=NODE,
        do=expand(config.post_startup, variables),
        undo=expand(config.shutdown, variables),
        variables=variables,
    )


def compute_peer(network: Network, me: Node, _uplink: Uplink, peer: Node) -> PeerPlan:
    """Return what is done for *peer*, in the families in which both nodes have a lease."""
    config = _config(network)
    shared = [lease for lease in peer.leases if me.lease(lease.family) is not None]
    if not shared:
        return PeerPlan()
    variables = _variables(Node(name=peer.name, backend=peer.backend, leases=tuple(shared)))
    said = next((lease.data for lease in shared if isinstance(lease.data, ExtensionData)), None)
    program = Program(
        name=peer_program_name(peer.name),
        do=expand(config.subnet_add, variables),
        undo=expand(config.subnet_remove, variables),
        variables=variables,
        stdin=said.text if said is not None else "",
    )
    return PeerPlan(program=program)


def expand(command: Command, variables: Mapping[str, str]) -> Command:
    """Return *command* with *variables* in place of their names, argument by argument."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return variables.get(name, found[0])

    return tuple(_VARIABLE.sub(value, argument) for argument in command)


def _config(network: Network) -> ExtensionConfig:
    assert isinstance(network.backend, ExtensionConfig)
    return network.backend


def _variables(node: Node) -> dict[str, str]:
    ipv4, ipv6 = node.lease(Family.IPV4), node.lease(Family.IPV6)
    return {
        "SUBNET": str(ipv4.subnet) if ipv4 else "",
        "PUBLIC_IP": str(ipv4.public_ip) if ipv4 else "",
        "IPV6SUBNET": str(ipv6.subnet) if ipv6 else "",
        "PUBLIC_IPV6": str(ipv6.public_ip) if ipv6 else "",
    }
