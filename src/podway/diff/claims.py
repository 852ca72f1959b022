"""What each source wants, and who wins where several want the same key.

In: all that one source (the node, a peer, an endpoint) wants, as often as it changes. Out: what
shall be at a key. Called by `podway.diff.tracker`. Why it is hard: two sources may want the same
key (two nodes that claim one subnet). The winner must not depend on who spoke first, so every key
remembers all its claimants and the smallest source wins.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from podway.model.kernel import KernelObject, Key

Source: TypeAlias = tuple[str, ...]


class ClaimChange(NamedTuple):
    """What one source wants at *key* now, and wanted before; None for nothing."""

    key: Key
    before: KernelObject | None
    after: KernelObject | None


class Claims:
    """What every source wants."""

    def __init__(self) -> None:
        self._parts: dict[Source, dict[Key, KernelObject]] = {}
        self._claims: dict[Key, dict[Source, KernelObject]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._claims

    def replace(self, source: Source, objects: Iterable[KernelObject]) -> list[ClaimChange]:
        """Make *objects* the whole of what *source* wants; return what that changes.

        Nothing means that the source is gone.
        """
        new = {item.key: item for item in objects}
        old = self._parts.pop(source, {})
        if new:
            self._parts[source] = new
        gone = [ClaimChange(key, old[key], None) for key in old.keys() - new.keys()]
        came = [
            ClaimChange(key, old.get(key), item)
            for key, item in new.items()
            if old.get(key) != item
        ]
        for key, _, _ in gone:
            self._withdraw(key, source)
        for key, item in new.items():
            self._claims.setdefault(key, {})[source] = item
        return gone + came

    def part(self, source: Source) -> Mapping[Key, KernelObject]:
        """Return what *source* wants, by key."""
        return self._parts.get(source, {})

    def sources(self) -> Iterable[Source]:
        """Return every source that wants something."""
        return self._parts.keys()

    def keys(self) -> Iterable[Key]:
        """Return every key that somebody wants."""
        return self._claims.keys()

    def winner(self, key: Key) -> KernelObject | None:
        """Return what shall be at *key*: the claim of the smallest source."""
        claims = self._claims.get(key)
        if not claims:
            return None
        return claims[min(claims)] if len(claims) > 1 else next(iter(claims.values()))

    def all_at(self, key: Key) -> Iterable[KernelObject]:
        """Return what the sources want at *key*, winner or not."""
        return self._claims.get(key, {}).values()

    def conflicts(self) -> dict[Key, list[Source]]:
        """Return the keys that more than one source wants differently, the winner first."""
        return {
            key: sorted(claims)
            for key, claims in self._claims.items()
            if len(claims) > 1 and len(set(claims.values())) > 1
        }

    def _withdraw(self, key: Key, source: Source) -> None:
        claims = self._claims[key]
        del claims[source]
        if not claims:
            del self._claims[key]
