"""The keys of one JSON object of a configuration, read with their rules.

In: a decoded object, and the path at which it stands. Out: typed values, or a `ConfigError` with
field, value and rule. Keys match without regard to case, as in Go, because flannel's files do.
"""

from collections.abc import Mapping
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
        self._path = path

    def path(self, name: str) -> str:
        """Return how the user writes the field *name*."""
        return f"{self._path}{name}"

    def raw(self, name: str) -> Any:
        """Return the value of *name* as it is, None where there is none."""
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
        return Fields(value, f"{self.path(name)}.")


def _kind(value: object) -> str:
    """Return what *value* is, in JSON's words."""
    kinds = {bool: "a truth value", str: "a string", list: "a list"}
    return kinds.get(type(value), "a number")
