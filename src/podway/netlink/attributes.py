"""Attributes of a message: a dict of named values becomes one nlattr after another, and back.

A table (`AttributeSet`) lists rows of ``(number, name, type)``; the name is the kernel's without
its prefix, in lower case (IFLA_MTU of set IFLA is ``mtu``). Messages are plain dicts of such names.
Tables are all there is to know about a message: encoding, decoding, the names in error messages
and the way from an offset (extended acknowledgement) back to a field all read the same rows.

On the wire (include/uapi/linux/netlink.h, net/netlink/ or lib/nlattr.c in the kernel)::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+---+---------------------------+
    |   nla_len (4 + payload)       |N O|   number                  |
    +-------------------------------+---+---------------------------+
    |   payload, zero padded to a multiple of 4 (padding not in nla_len)
    +----------------------------------------------------------------

N marks a nest, whose payload is attributes again: its type (`Nested`, `Selected`) knows their
table. ``{"mtu": 1450}`` in set IFLA is ``08 00 04 00 aa 05 00 00`` on a little-endian machine.

What the payloads hold is told in `attribute_types`. Unknown attributes are skipped: a newer kernel
says more than this table knows.
"""

# ruff: noqa: ARG002  # every type has the same two signatures, needed or not

from __future__ import annotations

from _struct import Struct
from _struct import error as StructError  # type: ignore[attr-defined]  # noqa: N812  # not in typeshed

from podway.netlink.constants import NLA_F_NESTED, NLA_TYPE_MASK
from podway.netlink.errors import DecodeError, EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from podway.netlink.attribute_types import AttributeType, Fields

NLATTR = Struct("=HH")
_PADDING = (b"", b"\0", b"\0\0", b"\0\0\0")


class AttributeSet:
    """A table of attributes: one number space, such as IFLA_* or RTA_*.

    Args:
        prefix: the kernel's prefix, for messages.
        rows: ``(number, name, type)``.
    """

    __slots__ = ("_by_name", "_by_number", "_types", "prefix", "rows")
    _by_name: dict[str, tuple[int, Callable[..., bytes | list[bytes] | None]]]
    _by_number: dict[int, tuple[str, Callable[..., Any]]]
    _types: dict[int, AttributeType]

    def __init__(self, prefix: str, rows: tuple[tuple[int, str, AttributeType], ...]) -> None:
        self.prefix = prefix
        self.rows = rows

    def __getattr__(self, name: str) -> Any:
        """Index the rows when first used: a short-lived process touches few of all tables.

        Called for slots that are not filled yet. The hot loops see bound methods and nothing else.
        """
        rows = self.rows
        if name == "_by_name":
            self._by_name = {name: (number | t.type_flags, t.encode) for number, name, t in rows}
        elif name == "_by_number":
            self._by_number = {number: (name, t.decode) for number, name, t in rows}
        elif name == "_types":
            self._types = {number: t for number, _, t in rows}
        return object.__getattribute__(self, name)

    def __iter__(self) -> Iterator[str]:
        return (name for _, name, _ in self.rows)

    def name(self, number: int) -> str:
        """Return the field name of attribute *number*, or its number as text."""
        row = self._by_number.get(number & NLA_TYPE_MASK)
        return row[0] if row else f"{self.prefix}#{number & NLA_TYPE_MASK}"

    def nest(self, number: int, siblings: Fields) -> tuple[AttributeSet, int] | None:
        """Return the set inside attribute *number* and where it begins in the payload.

        None where nothing is known to be inside.
        """
        known = self._types.get(number & NLA_TYPE_MASK)
        return known.nest(siblings) if known else None

    def rule(self, name: str) -> str:
        """Return what a value of field *name* must be, in words."""
        return self._types[self._by_name[name][0] & NLA_TYPE_MASK].rule

    def encode(self, fields: Fields, header: frozenset[str] = frozenset()) -> bytes:
        """Return *fields* as attributes, in the order of the dict.

        Args:
            fields: names of this set, and of *header*, which are passed over.
            header: fields that the fixed header before the attributes holds.

        Raises:
            EncodeError: a name is unknown or a value breaks its type's rule.
        """
        parts: list[bytes] = []
        by_name = self._by_name
        for name, value in fields.items():
            row = by_name.get(name)
            if row is None:
                if name in header:
                    continue
                raise EncodeError(name, value, f"unknown field; {self.prefix} has {self._names()}")
            try:
                payload = row[1](value, fields)
                if isinstance(payload, bytes):
                    length = len(payload) + 4
                    parts += (NLATTR.pack(length, row[0]), payload, _PADDING[-length & 3])
                elif payload is not None:
                    for item in payload:
                        length = len(item) + 4
                        parts += (NLATTR.pack(length, row[0]), item, _PADDING[-length & 3])
            except EncodeError as error:
                raise error.within(name) from None
            except (StructError, TypeError, ValueError, LookupError, AttributeError) as error:
                raise EncodeError(name, value, self.rule(name)) from error
        return b"".join(parts)

    def _names(self) -> str:
        return ", ".join(sorted(self._by_name))

    def decode(self, data: bytes, start: int, stop: int) -> dict[str, Any]:
        """Return the attributes in ``data[start:stop]``.

        Raises:
            DecodeError: a length runs past the end, or a value has an impossible size.
        """
        fields: dict[str, Any] = {}
        self.decode_into(fields, data, start, stop)
        return fields

    def decode_into(self, fields: dict[str, Any], data: bytes, start: int, stop: int) -> None:
        """Add the attributes in ``data[start:stop]`` to *fields*; an attribute replaces a field."""
        by_number = self._by_number
        unpack = NLATTR.unpack_from
        while start < stop:
            if stop - start < 4:
                raise DecodeError(f"{stop - start} stray bytes after the last {self.prefix}")
            length, number = unpack(data, start)
            if length < 4 or length > stop - start:
                raise DecodeError(f"{self.name(number)} claims {length} of {stop - start} bytes")
            row = by_number.get(number & NLA_TYPE_MASK)
            if row is not None:
                try:
                    fields[row[0]] = row[1](data, start + 4, start + length, fields)
                except DecodeError as error:
                    raise error.within(row[0]) from None
            start += (length + 3) & ~3


class Nested:
    """A nest of attributes: a dict in a dict."""

    __slots__ = ("_set",)
    rule = "must be a dict"
    type_flags = NLA_F_NESTED

    def __init__(self, attributes: AttributeSet) -> None:
        self._set = attributes

    def encode(self, value: Fields, siblings: Fields) -> bytes:
        """Return the attributes inside."""
        return self._set.encode(value)

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> dict[str, Any]:
        """Return the attributes inside."""
        return self._set.decode(data, start, stop)

    def nest(self, siblings: Fields) -> tuple[AttributeSet, int] | None:
        """Return the set inside."""
        return self._set, 0


class Selected:
    """A nest whose table depends on another field beside it (IFLA_INFO_DATA on ``kind``).

    For a value of that field that has no table the payload is given and taken as raw bytes.
    """

    __slots__ = ("_default", "_key", "_sets", "rule")
    type_flags = NLA_F_NESTED

    def __init__(
        self,
        key: str,
        sets: Mapping[Any, AttributeSet],
        default: AttributeSet | None = None,
    ) -> None:
        self._key, self._sets, self._default = key, sets, default
        self.rule = f"must be a dict, or bytes when {key} is none of {sorted(sets)}"

    def _select(self, siblings: Fields) -> AttributeSet | None:
        return self._sets.get(siblings.get(self._key), self._default)

    def encode(self, value: Fields | bytes, siblings: Fields) -> bytes:
        """Return the attributes inside."""
        chosen = self._select(siblings)
        if isinstance(value, bytes):
            if chosen is not None:
                raise TypeError
            return value
        if chosen is None:
            raise TypeError
        return chosen.encode(value)

    def decode(
        self, data: bytes, start: int, stop: int, siblings: Fields
    ) -> dict[str, Any] | bytes:
        """Return the attributes inside, or the bytes when no table is known."""
        chosen = self._select(siblings)
        return data[start:stop] if chosen is None else chosen.decode(data, start, stop)

    def nest(self, siblings: Fields) -> tuple[AttributeSet, int] | None:
        """Return the set inside."""
        chosen = self._select(siblings)
        return None if chosen is None else (chosen, 0)


class Repeated:
    """An attribute that may stand there several times: a list of values."""

    __slots__ = ("_item", "_name", "rule", "type_flags")

    def __init__(self, name: str, item: AttributeType) -> None:
        self._item = item
        self._name = name
        self.rule = f"must be a list; each item {item.rule}"
        self.type_flags = item.type_flags

    def encode(self, value: Iterable[Any], siblings: Fields) -> list[bytes]:
        """Return one payload for each item."""
        payloads = []
        for item in value:
            payload = self._item.encode(item, siblings)
            if not isinstance(payload, bytes):
                raise TypeError
            payloads.append(payload)
        return payloads

    def decode(self, data: bytes, start: int, stop: int, siblings: dict[str, Any]) -> list[Any]:
        """Return the list so far with one more item."""
        items: list[Any] = siblings.get(self._name, [])
        items.append(self._item.decode(data, start, stop, siblings))
        return items

    def nest(self, siblings: Fields) -> tuple[AttributeSet, int] | None:
        """Return the set inside an item."""
        return self._item.nest(siblings)
