"""Attribute types and sets: how one named value becomes one nlattr, and back.

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

N marks a nest. Integers have the machine's byte order, save where a type says BE. So
``{"mtu": 1450}`` in set IFLA is ``08 00 04 00 aa 05 00 00`` on a little-endian machine.

A type is an object with ``encode(value, siblings) -> bytes``, ``decode(data, start, stop,
siblings) -> value``, ``rule`` (what a value must be, in words) and ``type_flags``. *siblings* is
the dict that the value stands in: what IFLA_INFO_DATA means depends on IFLA_INFO_KIND beside it.
Unknown attributes are skipped: a newer kernel says more than this table knows.
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
    from typing import Any, Protocol, TypeAlias

    Fields: TypeAlias = Mapping[str, Any]

    class AttributeType(Protocol):
        """What a row of a table says about its value."""

        @property
        def rule(self) -> str:
            """What a value must be, in words."""

        @property
        def type_flags(self) -> int:
            """NLA_F_NESTED or 0."""

        def encode(self, value: Any, siblings: Fields) -> bytes | list[bytes] | None:
            """Return the payload, one for each repetition, or None to leave the attribute out."""

        def decode(self, data: bytes, start: int, stop: int, siblings: dict[str, Any]) -> Any:
            """Return the value of the payload in ``data[start:stop]``."""

        def nest(self, siblings: Fields) -> tuple[AttributeSet, int] | None:
            """Return the set inside the payload and where it begins there; None without one."""


_NLATTR = Struct("=HH")
_PADDING = (b"", b"\0", b"\0\0", b"\0\0\0")


class _Leaf:
    """A type whose payload holds no attributes."""

    __slots__ = ("rule",)
    type_flags = 0

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def nest(self, siblings: Fields) -> tuple[AttributeSet, int] | None:
        """Return the set inside the payload and where it begins there; None without one."""
        return None


class Scalar(_Leaf):
    """One integer, of the width and byte order of a struct format."""

    __slots__ = ("_pack", "_size", "_unpack")

    def __init__(self, layout: str, rule: str) -> None:
        super().__init__(rule)
        codec = Struct(layout)
        self._pack, self._unpack, self._size = codec.pack, codec.unpack_from, codec.size

    def encode(self, value: int, siblings: Fields) -> bytes:
        """Return the integer's bytes; struct's own error when it does not fit."""
        return self._pack(value)

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> int:
        """Return the integer; its size must be exact."""
        if stop - start != self._size:
            raise DecodeError(f"{stop - start} bytes, {self._size} expected")
        number: int = self._unpack(data, start)[0]
        return number


class Text(_Leaf):
    """A NUL-terminated string: UTF-8, with other bytes kept as surrogates (PEP 383)."""

    __slots__ = ()

    def encode(self, value: str, siblings: Fields) -> bytes:
        """Return the text's bytes and a NUL."""
        if "\0" in value:
            raise ValueError
        return value.encode("utf-8", "surrogateescape") + b"\0"

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> str:
        """Return the text up to the first NUL."""
        end = data.find(b"\0", start, stop)
        return data[start : stop if end < 0 else end].decode("utf-8", "surrogateescape")


class Bytes(_Leaf):
    """Raw bytes, of one of the given lengths when there are any."""

    __slots__ = ("_lengths",)

    def __init__(self, rule: str, lengths: frozenset[int] = frozenset()) -> None:
        super().__init__(rule)
        self._lengths = lengths

    def encode(self, value: bytes, siblings: Fields) -> bytes:
        """Return the bytes as they are."""
        if value.__class__ is not bytes or (self._lengths and len(value) not in self._lengths):
            raise ValueError
        return value

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> bytes:
        """Return the bytes as they are."""
        if self._lengths and stop - start not in self._lengths:
            raise DecodeError(f"{stop - start} bytes, one of {sorted(self._lengths)} expected")
        return data[start:stop]


class LinkLayer(_Leaf):
    """A link-layer address: lower-case colon text, of any length (4 for ipip, 6 for Ethernet)."""

    __slots__ = ()

    def encode(self, value: str, siblings: Fields) -> bytes:
        """Return the address' bytes."""
        return bytes.fromhex(value.replace(":", " "))

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> str:
        """Return the address as text."""
        return data[start:stop].hex(":")


class Presence(_Leaf):
    """NLA_FLAG: there or not there. False leaves it out."""

    __slots__ = ()

    def encode(self, value: bool, siblings: Fields) -> bytes | None:  # noqa: FBT001
        """Return an empty payload, or None for no attribute at all."""
        return b"" if value else None

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> bool:
        """Return True, or what a byte says: some drivers report a flag as a u8 (vxlan)."""
        return start == stop or any(data[start:stop])


class Record(_Leaf):
    """A C struct as a dict of its fields.

    Kernels extend their structs at the end: what is longer than the table is cut, fields that an
    older kernel does not send are 0.
    """

    __slots__ = ("_codec", "_names")

    def __init__(self, layout: str, names: tuple[str, ...]) -> None:
        super().__init__(f"must be a dict of {', '.join(names)}")
        self._codec = Struct(layout)
        self._names = names

    def encode(self, value: Fields, siblings: Fields) -> bytes:
        """Return the struct; fields left out are 0."""
        if not value.keys() <= set(self._names):
            raise ValueError
        return self._codec.pack(*[value.get(name, 0) for name in self._names])

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> dict[str, int]:
        """Return the struct's fields."""
        size = self._codec.size
        values = self._codec.unpack(data[start:stop][:size].ljust(size, b"\0"))
        return dict(zip(self._names, values, strict=True))


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


U8 = Scalar("=B", "must be an integer from 0 to 255")
U16 = Scalar("=H", "must be an integer from 0 to 65535")
U32 = Scalar("=I", "must be an integer from 0 to 2^32 - 1")
U64 = Scalar("=Q", "must be an integer from 0 to 2^64 - 1")
S32 = Scalar("=i", "must be an integer from -2^31 to 2^31 - 1")
BE16 = Scalar(">H", "must be an integer from 0 to 65535")
BE32 = Scalar(">I", "must be an integer from 0 to 2^32 - 1")
TEXT = Text("must be text without NUL")
BYTES = Bytes("must be bytes")
ADDRESS = Bytes("must be a packed address: 4 or 16 bytes", frozenset({4, 16}))
LLADDR = LinkLayer("must be a link-layer address as colon text, such as 0a:58:0a:f4:01:02")
FLAG = Presence("must be True or False")


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
                    parts += (_NLATTR.pack(length, row[0]), payload, _PADDING[-length & 3])
                elif payload is not None:
                    for item in payload:
                        length = len(item) + 4
                        parts += (_NLATTR.pack(length, row[0]), item, _PADDING[-length & 3])
            except EncodeError as error:
                raise error.within(name) from None
            except (StructError, TypeError, ValueError, AttributeError) as error:
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
        unpack = _NLATTR.unpack_from
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

    def locate(self, data: bytes, start: int, stop: int, offset: int) -> str:
        """Return the dotted name of the attribute that stands at *offset* of *data*, "" for none.

        Args:
            data: bytes that this set has encoded itself.
            start: where its attributes begin.
            stop: where they end.
            offset: as the kernel gives it in NLMSGERR_ATTR_OFFS.
        """
        found = self.find(data, start, stop, offset)
        return found[0] if found else ""

    def find(
        self, data: bytes, start: int, stop: int, offset: int
    ) -> tuple[str, AttributeSet | None] | None:
        """Return the dotted name at *offset* and the set of the nest there; see `locate`."""
        siblings = self.decode(data, start, stop)
        while start < stop:
            length, number = _NLATTR.unpack_from(data, start)
            if start <= offset < start + length:
                break
            start += (length + 3) & ~3
        else:
            return None
        known = self._types.get(number & NLA_TYPE_MASK)
        nest = known.nest(siblings) if known else None
        if nest is None:
            return self.name(number), None
        inner_set, skip = nest
        inner = inner_set.find(data, start + 4 + skip, start + length, offset)
        if inner is None:
            return self.name(number), inner_set
        return f"{self.name(number)}.{inner[0]}", inner[1]
