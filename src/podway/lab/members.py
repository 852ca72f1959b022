"""Everybody in a lab that has a network, by name: pods, nodes, the hub, the fabric."""

from collections.abc import Sequence

from podway.lab.errors import LabError, NoSuchLab
from podway.lab.names import FABRIC, HUB, namespace_of, netns_path, node_name
from podway.lab.ping import Station
from podway.lab.pod_networks import CLUSTER, HOST
from podway.lab.specs import LabSpec
from podway.lab.state import Pod, read_pods
from podway.lab.throughput import End
from podway.lab.underlay import HUB_NUMBER, underlay_addresses


def pod_stations(spec: LabSpec, pods: Sequence[Pod]) -> list[Station]:
    """Return *pods* as those who ping and are pinged."""
    return [Station(pod.name, netns_path(spec.name, pod.member), pod.addresses) for pod in pods]


def reachable(pods: Sequence[Pod]) -> list[Pod]:
    """Return those of *pods* that the whole cluster knows by their addresses.

    One that has none was left half made by a command that was killed.
    """
    return [pod for pod in pods if pod.attachment.network in {CLUSTER, HOST} and pod.addresses]


def node_stations(spec: LabSpec) -> list[Station]:
    """Return the nodes, with their addresses on the underlay, likewise."""
    return [_underlay_station(spec, node_name(number), number) for number in spec.nodes]


def hub_station(spec: LabSpec) -> Station:
    """Return the hub, likewise: for the cluster's pods it is the world outside."""
    return _underlay_station(spec, HUB, HUB_NUMBER)


def _underlay_station(spec: LabSpec, name: str, number: int) -> Station:
    return Station(name, netns_path(spec.name, name), underlay_addresses(spec, number))


def end_of(spec: LabSpec, name: str) -> End:
    """Return the pod or node called *name* as one end of a measurement.

    Its address is the one of the lab's first family. Raises `NoSuchLab`.
    """
    pods = read_pods(spec.name)
    stations = [*pod_stations(spec, pods), *node_stations(spec)]
    for station in stations:
        if station.name == name:
            if not station.addresses:
                raise LabError(f"{name} has no address: it has --network none, or is half made")
            return End(name, station.netns.name, station.addresses[0])
    raise _unknown(spec, name, [station.name for station in stations])


def namespace_of_member(spec: LabSpec, name: str) -> str:
    """Return the namespace of the pod, node, hub or fabric called *name*. Raises `NoSuchLab`."""
    own = [*map(node_name, spec.nodes), HUB, FABRIC]
    homes = {pod.name: pod.member for pod in read_pods(spec.name)} | dict(
        zip(own, own, strict=True)
    )
    if name not in homes:
        raise _unknown(spec, name, list(homes))
    return namespace_of(spec.name, homes[name])


def _unknown(spec: LabSpec, name: str, known: Sequence[str]) -> NoSuchLab:
    return NoSuchLab(f"lab {spec.name!r} has no {name!r}; it has {', '.join(known)}")
