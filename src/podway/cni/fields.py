"""Typed reading of JSON objects: each key is absent, null, of the right type, or an error.

In: an object as `documents.decode` returns it. Out: its values, checked. As Go's decoder does, keys
are matched without case, the last of several spellings wins, and null counts as absent.
"""

from podway.cni.documents import kind_of
from podway.cni.errors import DECODING_FAILURE, CniError, broken_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any


class Fields:
    """One JSON object, and the path at which it was found.

    Attributes:
        path: for messages; "" for the whole document, else ``runtimeConfig`` or ``ips[0]``.
    """

    def __init__(
        self, document: "Mapping[str, Any]", path: str = "", code: int = DECODING_FAILURE
    ) -> None:
        self._values = {_fold(key): value for key, value in document.items()}
        self._code = code
        self.path = path

    def where(self, key: str) -> str:
        """Return the path of *key* for a message."""
        return f"{self.path}.{key}" if self.path else key

    def refused(self, key: str, value: object, rule: str) -> CniError:
        """Return the error for a *value* of *key* that breaks *rule*."""
        return broken_rule(self.where(key), value, rule, self._code)

    def has(self, key: str) -> bool:
        """Tell whether *key* is there, be it as null."""
        return _fold(key) in self._values

    def value(self, key: str) -> "Any":
        """Return what stands at *key*, unchecked; None when absent."""
        return self._values.get(_fold(key))

    def text(self, key: str) -> str:
        """Return a string, "" when absent."""
        value = self.value(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.refused(key, value, f"must be a string, is {kind_of(value)}")
        return value

    def choice(self, key: str, choices: "Collection[str]") -> str:
        """Return one of *choices*, "" when absent or empty."""
        value = self.text(key)
        if value and value not in choices:
            raise self.refused(key, value, f"must be one of {', '.join(choices)}")
        return value

    def integer(self, key: str) -> int | None:
        """Return a whole number."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refused(key, value, f"must be a whole number, is {kind_of(value)}")
        return value

    def integer_within(self, key: str, least: int, most: int) -> int | None:
        """Return a whole number of *least* to *most*."""
        value = self.integer(key)
        if value is not None and not least <= value <= most:
            raise self.refused(key, value, f"must be {least} to {most}")
        return value

    def boolean(self, key: str, *, default: bool = False) -> bool:
        """Return true or false, *default* when absent."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refused(key, value, f"must be true or false, is {kind_of(value)}")
        return value

    def mapping(self, key: str) -> "dict[str, Any]":
        """Return an object as it stands, empty when absent."""
        value = self.value(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refused(key, value, f"must be an object, is {kind_of(value)}")
        return value

    def fields(self, key: str) -> "Fields":
        """Return an object for typed reading, empty when absent."""
        return Fields(self.mapping(key), self.where(key), self._code)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of strings, empty when absent."""
        values = self._array(key)
        for position, value in enumerate(values):
            if not isinstance(value, str):
                rule = f"must be a string, is {kind_of(value)}"
                raise self.refused(f"{key}[{position}]", value, rule)
        return tuple(values)

    def each(self, key: str) -> "tuple[Fields, ...]":
        """Return an array of objects for typed reading, empty when absent."""
        return tuple(
            self._element(f"{key}[{position}]", value)
            for position, value in enumerate(self._array(key))
        )

    def _element(self, key: str, value: object) -> "Fields":
        if not isinstance(value, dict):
            raise self.refused(key, value, f"must be an object, is {kind_of(value)}")
        return Fields(value, self.where(key), self._code)

    def _array(self, key: str) -> "list[Any]":
        value = self.value(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.refused(key, value, f"must be an array, is {kind_of(value)}")
        return value


def _fold(key: str) -> str:
    """Return *key* as keys are compared: long s and the Kelvin sign too fold to ASCII letters."""
    return key.lower() if key.isascii() else key.lower().replace("\u017f", "s")
