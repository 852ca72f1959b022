"""When what changed, what is computed anew: the bridge from marks to the tracker's desired state.

In: the node's `Place`, the cluster's dirty nodes, the dirty endpoints. Out: `Tracker.desire` calls
for just these. When the place itself changes (another network, uplink or lease) every part does.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from podway.agent.cluster import Cluster
from podway.agent.endpoints import Endpoints
from podway.agent.programs import Programs
from podway.compute.dressing import dress
from podway.compute.node import (
    Place,
    compute_endpoint,
    compute_node_program,
    compute_own,
    compute_peer,
)
from podway.diff.claims import Source
from podway.diff.tracker import Tracker
from podway.kernel.protocol import SILENT_KINDS
from podway.model.endpoints import EndpointKey
from podway.model.instances import DEFAULT_INSTANCE, Instance
from podway.model.kernel import KernelObject, Key, Link, Wireguard
from podway.model.programs import NODE, peer_program_name

OWN: Source = ("node",)


def peer_source(name: str) -> Source:
    """Return the source of what peer *name* adds."""
    return ("peer", name)


def endpoint_source(key: EndpointKey) -> Source:
    """Return the source of what the endpoint with *key* adds."""
    return ("pod", key.network, key.container_id, key.ifname)


class Desires:
    """Keeps the tracker's desired state equal to what the pure functions say.

    Attributes:
        place: for which everything was last computed; None before the node has a lease.
        skipped: by peer, why a part of it cannot be reached.
        computed: peers whose part was computed, be it nothing.
    """

    def __init__(
        self,
        name: str,
        tracker: Tracker,
        programs: Programs,
        instance: Instance = DEFAULT_INSTANCE,
    ) -> None:
        self._name = name
        self._instance = instance
        self._tracker = tracker
        self._programs = programs
        self.place: Place | None = None
        self.skipped: dict[str, tuple[str, ...]] = {}
        self.computed: set[str] = set()

    def refresh(self, place: Place, cluster: Cluster, endpoints: Endpoints) -> list[str]:
        """Compute what is dirty; all of it when the node stands elsewhere than last time.

        Returns:
            the peers of which something is skipped now, or for another reason than before.
        """
        if self.is_elsewhere(place):
            cluster.dirty |= cluster.nodes.keys()
            endpoints.touch_all()
        if place != self.place:
            self.place = place
            self._desire(OWN, compute_own(place))
            self._programs.want(NODE, compute_node_program(place))
        dirty = cluster.take_dirty()
        before = {name: self.skipped.get(name) for name in dirty}
        for name in dirty:
            self._refresh_peer(place, cluster, name)
        self.refresh_endpoints(endpoints)
        return [
            name for name in sorted(before) if self.skipped.get(name) not in {None, before[name]}
        ]

    def is_elsewhere(self, place: Place) -> bool:
        """Tell whether *place* differs from the last one for peers and pods, too.

        What is on the node's bridge, and whether it has one, is its own affair.
        """
        return self.place is None or _for_all(place) != _for_all(self.place)

    def refresh_endpoints(self, endpoints: Endpoints) -> None:
        """Compute the dirty endpoints, for the place as it is; without one they stay dirty."""
        if self.place is not None:
            for key in endpoints.take_dirty():
                self._refresh_endpoint(self.place, endpoints, key)

    def _desire(self, source: Source, objects: Iterable[KernelObject]) -> None:
        self._tracker.desire(source, dress(objects, self._instance))

    def keys_of(self, key: EndpointKey) -> set[Key]:
        """Return the kernel keys of the endpoint with *key*."""
        return set(self._tracker.part(endpoint_source(key)))

    def silent_keys(self) -> list[Key]:
        """Return what of the node changes in silence; a pod's is looked at with its device."""
        return [key for key in self._tracker.part(OWN) if key.kind in SILENT_KINDS]

    def silent_devices(self) -> list[str]:
        """Return the devices whose configuration changes without notification."""
        part = self._tracker.part(OWN)
        return [
            item.name
            for item in part.values()
            if isinstance(item, Link) and isinstance(item.kind, Wireguard)
        ]

    def _refresh_peer(self, place: Place, cluster: Cluster, name: str) -> None:
        peer = cluster.nodes.get(name)
        if peer is None or name == self._name:
            self.skipped.pop(name, None)
            self.computed.discard(name)
            self._desire(peer_source(name), ())
            self._programs.want(peer_program_name(name), None)
            return
        plan = compute_peer(place, peer)
        self.computed.add(name)
        self._desire(peer_source(name), plan.objects)
        self._programs.want(peer_program_name(name), plan.program)
        if plan.skipped:
            self.skipped[name] = plan.skipped
        else:
            self.skipped.pop(name, None)

    def _refresh_endpoint(self, place: Place, endpoints: Endpoints, key: EndpointKey) -> None:
        endpoint = endpoints.get(key)
        if endpoint is None or endpoints.is_detached(key):
            self._desire(endpoint_source(key), ())
            return
        reachable = replace(endpoint, netns=endpoints.namespace(key))
        self._desire(endpoint_source(key), compute_endpoint(place, reachable))


def _for_all(place: Place) -> Place:
    """Return *place* without what only the node's own part depends on (`podway.compute.node`)."""
    return replace(place, bridge=False, bridge_mtu=0)
