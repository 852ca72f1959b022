"""Frozen values that cost nothing to import: what `dataclasses` would give, in a few lines.

In: a class body of annotated fields with optional defaults. Out: an immutable class with slots, a
keyword constructor, equality, hash and repr. Used by every value of `podway.cni`. The reason for
its being: `dataclasses` pulls in `re`, `inspect` and `copy`, 8 ms of a process that lives 10.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    V = TypeVar("V", bound="Value")
else:

    def dataclass_transform(**_options):  # noqa: ANN003, ANN201, D103
        return lambda decorated: decorated


@dataclass_transform(eq_default=True, kw_only_default=True, frozen_default=True)
class Frozen(type):
    """Metaclass that turns the annotations of a class body into slots."""

    __match_args__: "tuple[str, ...]"
    _defaults: "dict[str, Any]"

    def __new__(cls, name: str, bases: "tuple[type, ...]", body: "dict[str, Any]") -> "Frozen":
        """Return the class; defaults leave its body, because a slot and a class attribute clash."""
        fields = tuple(body.get("__annotations__", ()))
        defaults = {field: body.pop(field) for field in fields if field in body}
        slots = {"__slots__": fields, "__match_args__": fields, "_defaults": defaults}
        return super().__new__(cls, name, bases, {**body, **slots})


class Value(metaclass=Frozen):
    """A frozen value. Subclasses declare fields; they are given by keyword and never change."""

    def __init__(self, **given: "Any") -> None:
        kind = type(self)
        values = {**kind._defaults, **given}  # noqa: SLF001
        odd = values.keys() ^ set(kind.__match_args__)
        if odd:
            fields = ", ".join(sorted(odd))
            raise TypeError(f"{kind.__name__}(): missing or unknown fields: {fields}")
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and as_tuple(self) == as_tuple(other)

    def __hash__(self) -> int:
        return hash(as_tuple(self))

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{field}={getattr(self, field)!r}" for field in type(self).__match_args__
        )
        return f"{type(self).__name__}({fields})"


def as_tuple(value: Value) -> "tuple[Any, ...]":
    """Return the fields of *value* in the order of their declaration."""
    return tuple(getattr(value, field) for field in type(value).__match_args__)


def replace(value: "V", **changes: "Any") -> "V":
    """Return a copy of *value* with some fields changed."""
    kept = {field: getattr(value, field) for field in type(value).__match_args__}
    return type(value)(**{**kept, **changes})
