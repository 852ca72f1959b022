"""Keeps desired and observed state side by side and knows what differs, at the cost of the change.

In: `desire` says what one source (the node, a peer, an endpoint) wants; `observe*` says what the
kernel holds. Out: `plan` gives the operations that lead from the one to the other, `record` takes
in how they went. Nothing here has effects, and nothing walks over all objects to serve one: a set
of dirty keys is all that a plan looks at.

Why it is hard: the kernel takes things away in silence (with a device go its addresses, routes,
neighbours and FDB entries), what it holds may be another's, and what nobody ever wanted here may be
wanted as soon as the store has told all. Who wins where two sources want one key is for
`podway.diff.claims` to say, what stands on a device for `podway.diff.places`.

The state after any sequence of calls depends only on the last value per source and per key.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from podway.diff.claims import Claims, Source
from podway.diff.compare import Difference, compare
from podway.diff.operations import Operation, Verb
from podway.diff.order import device_of, in_order
from podway.diff.places import Places
from podway.model.instances import PODWAY, Marks
from podway.model.kernel import (
    KernelObject,
    Key,
    Link,
    Route,
    Rule,
)


class Failure(Struct, frozen=True):
    """An operation that the kernel refused and that waits to be tried again."""

    operation: Operation
    error: Exception
    since: float
    attempts: int


class Tracker:
    """Desired and observed state of one kernel.

    Args:
        marks: tell what is ours to remove.
    """

    def __init__(self, marks: Marks = PODWAY) -> None:
        self._marks = marks
        self.sweeping = False
        self.drift_repaired = 0
        self._claims = Claims()
        self._places = Places()
        self._observed: dict[Key, KernelObject] = {}
        self._ours: set[Key] = set()
        self._dirty: set[Key] = set()
        self._withheld: set[Key] = set()
        self._drifted: set[Key] = set()
        self.failures: dict[Key, Failure] = {}

    # --- what is wanted -------------------------------------------------------------------------

    def desire(self, source: Source, objects: Iterable[KernelObject]) -> None:
        """Make *objects* the whole of what *source* wants; nothing means that it is gone."""
        for change in self._claims.replace(source, objects):
            key = change.key
            if change.after is None:
                # What we once wanted is ours to remove, sweeping or not.
                self._ours.add(key)
            else:
                self._places.add(key, change.after)
            self._leave(key, change.before)
            self._dirty.add(key)

    def part(self, source: Source) -> Mapping[Key, KernelObject]:
        """Return what *source* wants, by key."""
        return self._claims.part(source)

    def sources(self) -> Iterable[Source]:
        """Return every source that wants something."""
        return self._claims.sources()

    def desired(self, key: Key) -> KernelObject | None:
        """Return what shall be at *key*: the claim of the smallest source."""
        return self._claims.winner(key)

    def wanted(self) -> Iterable[Key]:
        """Return every key that somebody wants."""
        return self._claims.keys()

    def wanted_on(self, dev: str) -> list[Key]:
        """Return the wanted keys of objects on device *dev*, its link among them."""
        return [
            key
            for key in self._places.on(dev)
            if any(device_of(item) == dev for item in self._claims.all_at(key))
        ]

    def conflicts(self) -> dict[Key, list[Source]]:
        """Return the keys that more than one source wants differently, the winner first."""
        return self._claims.conflicts()

    # --- what is there --------------------------------------------------------------------------

    def observe(self, key: Key, found: KernelObject | None) -> None:
        """Take in that the kernel now holds *found* at *key* (None: nothing)."""
        before = self._matches(key)
        self._store(key, found)
        self._dirty.add(key)
        if found is None and key.kind == "link":
            self._drop_device(str(key.parts[0]))
        if before and not self._matches(key):
            self._drifted.add(key)

    def observe_device(self, dev: str, state: Mapping[Key, KernelObject]) -> None:
        """Take in *state* as all that there is on device *dev*."""
        self._lose(key for key in self._standing_on(dev) if key not in state)
        for key, item in state.items():
            self.observe(key, item)

    def observe_all(self, state: Mapping[Key, KernelObject]) -> None:
        """Take in *state* as everything that there is."""
        self._lose(key for key in self._observed if key not in state)
        for key, item in state.items():
            self.observe(key, item)

    def observed(self, key: Key) -> KernelObject | None:
        """Return what was last seen at *key*."""
        return self._observed.get(key)

    # --- the way from one to the other ----------------------------------------------------------

    def plan(self) -> list[Operation]:
        """Return the operations that make dirty keys right, in a safe order.

        A device that is made anew brings along all that goes with the old one. Objects that this
        process never wanted are swept only once `sweeping` is on: before the store's first complete
        list nobody knows what is stale.
        """
        if self.sweeping and self._withheld:
            self._dirty |= self._withheld
            self._withheld.clear()
        dirty, self._dirty = self._dirty, set()
        links = [key for key in dirty if key.kind == "link"]
        remade = {str(key.parts[0]) for key in links if self._is_remade(key)}
        for dev in remade:
            dirty.update(self._places.on(dev), self._places.ports_of(dev))
        return in_order(op for key in dirty for op in self._difference(key, remade))

    def preview(self, state: Mapping[Key, KernelObject]) -> list[Operation]:
        """Return what would be planned if *state* were all that there is; changes nothing."""
        other = Tracker(self._marks)
        for source in self.sources():
            other.desire(source, self.part(source).values())
        other.sweeping = self.sweeping
        other.observe_all(state)
        return other.plan()

    def record(self, operation: Operation, error: Exception | None, now: float) -> None:
        """Take in how *operation* went."""
        key = operation.key
        if error is not None:
            old = self.failures.get(key)
            since, attempts = (old.since, old.attempts) if old else (now, 0)
            self.failures[key] = Failure(operation, error, since, attempts + 1)
            if operation.verb is Verb.DELETE and key.kind == "link":
                # What stands on it was to go with it, and has to be looked at for itself now.
                dev = str(key.parts[0])
                self._dirty.update(item for item in self._standing_on(dev) if item != key)
            return
        self.failures.pop(key, None)
        if operation.verb is Verb.DELETE:
            self._store(key, None)
            if key.kind == "link":
                self._drop_device(str(key.parts[0]))
        else:
            self._store(key, operation.desired)
        if key in self._drifted and self._matches(key):
            self._drifted.discard(key)
            self.drift_repaired += 1

    def retry(self, dev: str = "") -> None:
        """Make failed operations due again: all, or those for which device *dev* may matter.

        A device may need any other one (its bridge, its underlay, the one that has its name).
        """
        self._dirty |= {
            key
            for key, failure in self.failures.items()
            if not dev or key.kind == "link" or _stands_on(failure.operation) in {"", dev}
        }

    @property
    def pending(self) -> bool:
        """Tell whether a plan may have something to do."""
        return bool(self._dirty) or (self.sweeping and bool(self._withheld))

    def in_force(self, source: Source) -> bool:
        """Tell whether the kernel, as last seen, holds all that *source* wants."""
        return all(self._matches(key) for key in self.part(source))

    def failures_of(self, source: Source) -> list[Failure]:
        """Return the failures that stand in the way of *source*."""
        return [self.failures[key] for key in self.part(source) if key in self.failures]

    # --- inside ---------------------------------------------------------------------------------

    def _lose(self, keys: Iterable[Key]) -> None:
        """Take in that *keys* are gone; what went along with a device is no drift of its own."""
        for key in sorted(keys, key=lambda key: key.kind != "link"):
            self.observe(key, None)

    def _leave(self, key: Key, old: KernelObject | None) -> None:
        """Forget that *key* stands where *old* stood, unless it still does by claim or kernel."""
        self._places.leave(key, old, (*self._claims.all_at(key), self._observed.get(key)))

    def _store(self, key: Key, found: KernelObject | None) -> None:
        old = self._observed.pop(key, None)
        if found is not None:
            self._observed[key] = found
            self._places.add(key, found)
        if old is not None and old != found:
            self._leave(key, old)
        if found is None and key not in self._claims:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        """Forget *key*, which nobody wants and which is not there."""
        self._ours.discard(key)
        self._withheld.discard(key)
        self._drifted.discard(key)
        self.failures.pop(key, None)

    def _matches(self, key: Key) -> bool:
        desired, observed = self.desired(key), self._observed.get(key)
        if desired is None or observed is None:
            return desired is observed
        return compare(desired, observed) is Difference.NONE

    def _is_remade(self, key: Key) -> bool:
        """Tell whether what is at *key* has to go before it can be what it shall."""
        desired, observed = self.desired(key), self._observed.get(key)
        if desired is None or observed is None or self._is_foreign(observed):
            return False
        return compare(desired, observed) is Difference.REMAKE

    def _observed_without(self, key: Key, gone: set[str]) -> KernelObject | None:
        """Return what will be at *key* once the devices in *gone* are gone."""
        observed = self._observed.get(key)
        if isinstance(observed, Link):
            return replace(observed, master="") if observed.master in gone else observed
        return None if device_of(observed) in gone else observed

    def _difference(self, key: Key, remade: set[str]) -> list[Operation]:
        desired = self.desired(key)
        if desired is None:
            return self._removal(key, self._observed.get(key))
        observed = self._observed_without(key, remade)
        if observed is None:
            return [Operation(Verb.CREATE, key, desired)]
        match compare(desired, observed):
            case Difference.NONE:
                self.failures.pop(key, None)
                self._drifted.discard(key)
                return []
            case Difference.CHANGE:
                return [Operation(Verb.CHANGE, key, desired, observed)]
            case Difference.REMAKE if self._is_foreign(observed):
                # Somebody's own device bears the name: to create ours fails, for all to see.
                return [Operation(Verb.CREATE, key, desired)]
            case Difference.REMAKE:
                remove = Operation(Verb.DELETE, key, None, observed)
                return [remove, Operation(Verb.CREATE, key, desired)]

    def _removal(self, key: Key, observed: KernelObject | None) -> list[Operation]:
        if observed is None or key.kind in ("sysctl", "offload"):
            # A value cannot be taken away; it is left as it is and no longer watched.
            self._store(key, None)
            return []
        if not self._may_remove(key, observed):
            self.failures.pop(key, None)
            return []
        return [Operation(Verb.DELETE, key, None, observed)]

    def _may_remove(self, key: Key, observed: KernelObject) -> bool:
        if self._is_foreign(observed):
            return False
        if key in self._ours:
            return True
        if not self.sweeping:
            self._withheld.add(key)
            return False
        return True

    def _drop_device(self, dev: str) -> None:
        """Forget what went with device *dev*; what is still wanted there becomes dirty."""
        for key in self._standing_on(dev):
            self._store(key, None)
            if key in self._claims:
                self._dirty.add(key)
        for key in list(self._places.ports_of(dev)):
            port = self._observed.get(key)
            if isinstance(port, Link) and port.master == dev:
                self._store(key, replace(port, master=""))
                self._dirty.add(key)

    def _standing_on(self, dev: str) -> list[Key]:
        """Return the keys of what was last seen on device *dev*, its link among them."""
        keys = self._places.on(dev)
        return [key for key in keys if device_of(self._observed.get(key)) == dev]

    def _is_foreign(self, item: KernelObject) -> bool:
        """Tell whether *item* lacks our mark; to want its key does not make it ours to remove."""
        match item:
            case Link(alias=alias):
                return not alias.startswith(self._marks.alias)
            case Route(protocol=protocol) | Rule(protocol=protocol):
                return protocol != self._marks.protocol
            case _:
                return False


def _stands_on(operation: Operation) -> str:
    return device_of(operation.desired or operation.observed)
