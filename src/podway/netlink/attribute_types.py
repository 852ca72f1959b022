"""Types of attributes: how one value becomes the payload of one nlattr, and back.

Comes in: an integer, text, bytes. Goes out: its bytes on the wire. The tables of `attributes` name
one of these types in each row. Integers have the machine's byte order, save where a type says BE.

A type is an object with ``encode(value, siblings) -> bytes``, ``decode(data, start, stop,
siblings) -> value``, ``rule`` (what a value must be, in words) and ``type_flags``. *siblings* is
the dict that the value stands in: what IFLA_INFO_DATA means depends on IFLA_INFO_KIND beside it.

A value that breaks the rule raises whatever Python raises for it (struct.error, TypeError,
ValueError, LookupError, AttributeError): `AttributeSet.encode` makes it an `EncodeError` with
field, value and rule. A payload of an impossible size is a `DecodeError`.

Sources: include/net/netlink.h (NLA_U32, NLA_NUL_STRING, NLA_FLAG, ...), lib/nlattr.c.
"""

# ruff: noqa: ARG002  # every type has the same two signatures, needed or not

from __future__ import annotations

from _struct import Struct

from podway.netlink.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol, TypeAlias

    from podway.netlink.attributes import AttributeSet

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


class Leaf:
    """A type whose payload holds no attributes, or none that an error should name.

    Args:
        rule: what a value must be, in words.
    """

    __slots__ = ("rule",)
    type_flags = 0

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def nest(self, siblings: Fields) -> tuple[AttributeSet, int] | None:
        """Return the set inside the payload and where it begins there; None without one."""
        return None


class Scalar(Leaf):
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


class Text(Leaf):
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


class Bytes(Leaf):
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


class LinkLayer(Leaf):
    """A link-layer address: lower-case colon text, of any length (4 for ipip, 6 for Ethernet)."""

    __slots__ = ()

    def encode(self, value: str, siblings: Fields) -> bytes:
        """Return the address' bytes."""
        return bytes.fromhex(value.replace(":", " "))

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> str:
        """Return the address as text."""
        return data[start:stop].hex(":")


class Presence(Leaf):
    """NLA_FLAG: there or not there. False leaves it out."""

    __slots__ = ()

    def encode(self, value: bool, siblings: Fields) -> bytes | None:  # noqa: FBT001
        """Return an empty payload, or None for no attribute at all."""
        return b"" if value else None

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> bool:
        """Return True, or what a byte says: some drivers report a flag as a u8 (vxlan)."""
        return start == stop or any(data[start:stop])


class Record(Leaf):
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


U8 = Scalar("=B", "must be an integer from 0 to 255")
U16 = Scalar("=H", "must be an integer from 0 to 65535")
U32 = Scalar("=I", "must be an integer from 0 to 2^32 - 1")
U64 = Scalar("=Q", "must be an integer from 0 to 2^64 - 1")
S32 = Scalar("=i", "must be an integer from -2^31 to 2^31 - 1")
BE16 = Scalar(">H", "must be an integer from 0 to 65535")
BE32 = Scalar(">I", "must be an integer from 0 to 2^32 - 1")
BE64 = Scalar(">Q", "must be an integer from 0 to 2^64 - 1")
BE_S32 = Scalar(">i", "must be an integer from -2^31 to 2^31 - 1")
TEXT = Text("must be text without NUL")
BYTES = Bytes("must be bytes")
ADDRESS = Bytes("must be a packed address: 4 or 16 bytes", frozenset({4, 16}))
LLADDR = LinkLayer("must be a link-layer address as colon text, such as 0a:58:0a:f4:01:02")
FLAG = Presence("must be True or False")
