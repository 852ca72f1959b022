"""A message's shape (`Schema`) and one message to the kernel (`Request`).

Comes in: a dict of fields, as `links`, `routes` and their siblings describe them. Goes out: the
bytes after the nlmsghdr, and the operation in words for the day the kernel says no::

    +--------------------+------------------------+---------------------------+
    | nlmsghdr (`wire`)  | fixed header (Schema)  | attributes (AttributeSet) |
    +--------------------+------------------------+---------------------------+

Header and attributes share one dict. Some values have both a narrow header field and a wide
attribute (rtm_table and RTA_TABLE): they are one field here, written to both (the header holds 0
when the value does not fit it) and read from the attribute when there is one.
"""

# ruff: noqa: ARG002  # attribute types have one signature, whether they need it or not

from __future__ import annotations

from _struct import Struct
from _struct import error as StructError  # type: ignore[attr-defined]  # noqa: N812  # not in typeshed

from podway.netlink.constants import NLM_F_REQUEST
from podway.netlink.errors import DecodeError, EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Generic, TypeAlias, TypeVar

    from podway.netlink.attributes import AttributeSet

    Message = TypeVar("Message")
    NameOf: TypeAlias = Callable[[int], str]
    Describe: TypeAlias = Callable[[Mapping[str, Any], NameOf], str]

    class _Typed(Generic[Message]):
        """Lets `Schema` and `Request` name the TypedDict that they carry, free at run time."""

else:
    Message = None

    class _Typed:
        __slots__ = ()

        def __class_getitem__(cls, item: object) -> type:
            return cls


_HEADER_BYTE_MAX = 255


class Schema(_Typed[Message]):
    """What one family of messages (RTM_*ROUTE) looks like after the nlmsghdr.

    Args:
        noun: what one such object is called in messages ("route").
        layout: struct format of the fixed header, padded to a multiple of 4.
        header: the names of its fields.
        attributes: the table of what follows.
        describe: ``(fields, name_of) -> text`` for error messages; *name_of* gives a device's name
            for its index.
    """

    __slots__ = ("_codec", "_header", "_names", "_wide", "attributes", "describe", "noun")

    def __init__(
        self,
        noun: str,
        layout: str,
        header: tuple[str, ...],
        attributes: AttributeSet,
        describe: Describe,
    ) -> None:
        self.noun = noun
        self.attributes = attributes
        self.describe = describe
        self._codec = Struct(layout)
        self._header = header
        self._names = frozenset(header)
        self._wide = tuple(self._names & set(attributes))

    @property
    def header_size(self) -> int:
        """Bytes before the first attribute."""
        return self._codec.size

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Return *fields* as header and attributes; header fields left out are 0.

        Raises:
            EncodeError: a field is unknown or its value impossible; names it.
        """
        get = fields.get
        values = [get(name, 0) for name in self._header]
        try:
            for name in self._wide:
                if get(name, 0) > _HEADER_BYTE_MAX:
                    values[self._header.index(name)] = 0
            return self._codec.pack(*values) + self.attributes.encode(fields, self._names)
        except EncodeError as error:
            raise error.within(self.noun) from None
        except (StructError, TypeError) as error:
            rule = f"header fields must be integers that fit {self._codec.format}"
            raise EncodeError(self.noun, values, rule) from error

    def decode(self, data: bytes, start: int, stop: int) -> Message:
        """Return the fields of the message in ``data[start:stop]``.

        Raises:
            DecodeError: the bytes are too few, or an attribute is malformed; names it.
        """
        first = start + self._codec.size
        if first > stop:
            raise DecodeError(f"{stop - start} bytes, {self._codec.size} expected", self.noun)
        values = self._codec.unpack_from(data, start)
        fields: dict[str, Any] = dict(zip(self._header, values, strict=True))
        try:
            self.attributes.decode_into(fields, data, first, stop)
        except DecodeError as error:
            raise error.within(self.noun) from None
        return fields  # type: ignore[return-value]  # the TypedDict that the table stands for


class Embedded:
    """An attribute whose payload is a whole message, header and attributes (veth's peer)."""

    __slots__ = ("_schema",)
    rule = "must be a dict"
    type_flags = 0

    def __init__(self, schema: Schema[Any]) -> None:
        self._schema = schema

    def encode(self, value: Mapping[str, Any], siblings: Mapping[str, Any]) -> bytes:
        """Return header and attributes."""
        return self._schema.encode(value)

    def decode(self, data: bytes, start: int, stop: int, siblings: Mapping[str, Any]) -> Any:
        """Return the fields of header and attributes."""
        return self._schema.decode(data, start, stop)

    def nest(self, siblings: Mapping[str, Any]) -> tuple[AttributeSet, int]:
        """Return the set after the header."""
        return self._schema.attributes, self._schema.header_size


class Request(_Typed[Message]):
    """One message to the kernel: made by `create_link`, `dump_routes` and so on.

    Attributes:
        verb: "create", "replace", "change", "delete", "read" or "list", for error messages.
        schema: shape of *fields* and of the replies.
        type: RTM_*.
        flags: NLM_F_*; REQUEST is always set, ACK where the socket needs one.
        fields: the message.
        keep: for a dump: what the caller asked for, checked again here because a kernel may
            ignore a filter; None keeps all.
        empty_errno: for a dump: errno by which the kernel says that there is nothing to list.
    """

    __slots__ = ("empty_errno", "fields", "flags", "keep", "schema", "type", "verb")

    def __init__(  # noqa: PLR0917  # in the order of the wire
        self,
        verb: str,
        schema: Schema[Message],
        type: int,  # noqa: A002  # nlmsg_type
        flags: int,
        fields: Mapping[str, Any],
        keep: Callable[[Message], bool] | None = None,
        empty_errno: int = 0,
    ) -> None:
        self.verb = verb
        self.schema = schema
        self.type = type
        self.flags = flags | NLM_F_REQUEST
        self.fields = fields
        self.keep = keep
        self.empty_errno = empty_errno

    def describe(self, name_of: NameOf) -> str:
        """Return the operation in words: ``create route 10.244.1.0/24 via 10.0.0.2 dev eth0``."""
        if self.verb == "list":
            filters = ", ".join(f"{name} {value}" for name, value in self.fields.items() if value)
            return f"list every {self.schema.noun}" + (f" with {filters}" if filters else "")
        return f"{self.verb} {self.schema.describe(self.fields, name_of)}"
