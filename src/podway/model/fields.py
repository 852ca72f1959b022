"""The keys of one JSON object of a configuration, read with their rules.

In: a decoded object, and the path at which it stands. Out: typed values, or a `ConfigError` with
field, value and rule. Keys match without regard to case, as in Go, because flannel's files do.
What nobody asked for is told afterwards (`Fields.passed_over`): it is most often a slip of the pen.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from podway.errors import ConfigError


class Fields:
    """Typed readers of one JSON object.

    Args:
        document: the object.
        path: what stands before a field's name in messages (``Backend.``).
    """

    def __init__(self, document: Mapping[str, Any], path: str = "") -> None:
        self._values = {key.lower(): value for key, value in document.items()}
        self._spellings = {key.lower(): key for key in document}
        self._path = path
        self._known: dict[str, str] = {}
        self._inner: list[Fields] = []

    def path(self, name: str) -> str:
        """Return how the user writes the field *name*."""
        return f"{self._path}{name}"

    def known(self) -> list[str]:
        """Return the names that were asked for or declared, in this object and those in it."""
        return [
            *(self.path(name) for name in self._known.values()),
            *(name for inner in self._inner for name in inner.known()),
        ]

    def passed_over(self) -> Iterator[str]:
        """Yield the keys of the document, in this object and those in it, that nobody knows."""
        for key, spelling in self._spellings.items():
            if key not in self._known:
                yield self.path(spelling)
        for inner in self._inner:
            yield from inner.passed_over()

    def declare(self, *names: str) -> None:
        """Tell that *names* are known, whether they are asked for or not."""
        self._known.update((name.lower(), name) for name in names)

    def raw(self, name: str) -> Any:
        """Return the value of *name* as it is, None where there is none."""
        self.declare(name)
        return self._values.get(name.lower())

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a truth value."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise ConfigError(self.path(name), value, "must be true or false")
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from *low* to *high*."""
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(self.path(name), value, f"must be a whole number, {low} to {high}")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a string."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise ConfigError(self.path(name), value, "must be a string")
        return value

    def child(self, name: str) -> "Fields | None":
        """Return the object *name*, None where there is none."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            # Not shown: whatever it is, it may hold what an object of that name would (a PSK).
            raise ConfigError(self.path(name), _kind(value), "must be an object")
        return self.inner(value, name)

    def inner(self, document: Mapping[str, Any], name: str) -> "Fields":
        """Return the fields of *document*, which stands at *name* in this object."""
        inner = Fields(document, f"{self.path(name)}.")
        self._inner.append(inner)
        return inner


def _kind(value: object) -> str:
    """Return what *value* is, in JSON's words."""
    kinds = {bool: "a truth value", str: "a string", list: "a list"}
    return kinds.get(type(value), "a number")
