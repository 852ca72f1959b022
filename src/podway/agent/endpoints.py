"""The node's endpoints in memory: what the ledger holds, and what can be done about each now.

An endpoint is *live* while its pod's namespace can be opened. One whose namespace is gone (the
runtime removed it before calling DEL, or the node was rebooted) keeps its addresses until DEL, GC
or an operator releases them, but nothing is wanted in the kernel for it any more.
"""

import os
from collections import Counter
from collections.abc import Iterator

from podway.model.endpoints import Endpoint, EndpointKey


class Endpoints:
    """Every endpoint that the node is responsible for.

    Attributes:
        dirty: keys whose endpoint changed since `take_dirty`.
    """

    def __init__(self) -> None:
        self.dirty: set[EndpointKey] = set()
        self._all: dict[EndpointKey, Endpoint] = {}
        self._identities: dict[EndpointKey, str] = {}
        self._detached: set[EndpointKey] = set()
        self._in_flight: dict[EndpointKey, str] = {}
        self._bridged = 0
        self._bridged_mtus: Counter[int] = Counter()

    @property
    def bridged(self) -> int:
        """How many endpoints are ports of the bridge."""
        return self._bridged

    @property
    def bridged_mtus(self) -> frozenset[int]:
        """The MTUs of the live pods' interfaces on the bridge; as a rule it is one."""
        return frozenset(self._bridged_mtus)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._all.values())

    def get(self, key: EndpointKey) -> Endpoint | None:
        """Return the endpoint with *key*, live or not."""
        return self._all.get(key)

    def put(self, endpoint: Endpoint, identity: str, in_flight: str = "") -> None:
        """Add *endpoint*; *in_flight* is a path that leads to its namespace while ADD goes on."""
        self._forget(endpoint.key)
        self._all[endpoint.key] = endpoint
        self._bridged += endpoint.attach == "bridge"
        self._count_mtu(endpoint, 1)
        self._identities[endpoint.key] = identity
        self._detached.discard(endpoint.key)
        if in_flight:
            self._in_flight[endpoint.key] = in_flight
        self.dirty.add(endpoint.key)

    def landed(self, key: EndpointKey) -> None:
        """ADD is over: from now on the endpoint's own path must do."""
        if self._in_flight.pop(key, None) is not None and key in self._all:
            # What was computed names a descriptor, which may be another namespace's next.
            self.dirty.add(key)

    def detach(self, key: EndpointKey) -> None:
        """Want nothing in the kernel for the endpoint any more; its addresses stay held."""
        if key in self._all:
            self._detach(key)
            self.dirty.add(key)

    def drop(self, key: EndpointKey) -> None:
        """Forget the endpoint."""
        self._forget(key)
        self.dirty.add(key)

    def is_detached(self, key: EndpointKey) -> bool:
        """Tell whether the endpoint's namespace is known to be gone."""
        return key in self._detached

    def detached(self) -> int:
        """Return how many endpoints wait for their DEL without a namespace."""
        return len(self._detached)

    def namespace(self, key: EndpointKey) -> str:
        """Return the path by which the endpoint's namespace can be opened now."""
        return self._in_flight.get(key) or self._all[key].netns

    def identity(self, key: EndpointKey) -> str:
        """Return the identity of the namespace for which the endpoint was made."""
        return self._identities[key]

    def still_there(self, key: EndpointKey) -> bool:
        """Tell whether the path still leads to the namespace for which the endpoint was made."""
        return namespace_identity(self.namespace(key)) == self._identities[key]

    def take_dirty(self) -> set[EndpointKey]:
        """Return the keys that changed since the last call."""
        dirty, self.dirty = self.dirty, set()
        return dirty

    def touch_all(self) -> None:
        """Mark every endpoint as changed."""
        self.dirty |= self._all.keys()

    def _detach(self, key: EndpointKey) -> None:
        if key not in self._detached:
            self._count_mtu(self._all[key], -1)
        self._detached.add(key)

    def _count_mtu(self, endpoint: Endpoint, change: int) -> None:
        if endpoint.attach == "bridge":
            self._bridged_mtus[endpoint.mtu] += change
            self._bridged_mtus += Counter()  # without those that are not there any more

    def _forget(self, key: EndpointKey) -> None:
        if key in self._all:
            self._detach(key)
        endpoint = self._all.pop(key, None)
        self._bridged -= endpoint is not None and endpoint.attach == "bridge"
        self._identities.pop(key, None)
        self._detached.discard(key)
        self._in_flight.pop(key, None)


def namespace_identity(path: str | int) -> str:
    """Return ``device:inode`` of the namespace at *path* (or descriptor); "" when there is none.

    A path may come to lead somewhere else (a container's name or process number used again). The
    pair of numbers tells most such cases: no two namespaces that exist have the same, but the
    kernel gives the number of one that is gone to the next.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  (a descriptor is welcome too)
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"
