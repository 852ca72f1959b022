"""Kernel objects as text for golden files: one line each, every field that says something."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import fields

from podway.model.kernel import KernelObject, NftTable, Veth

_INDENT = "    "


def render(objects: Iterable[KernelObject]) -> str:
    """Return *objects* in their order; nested values and nft bodies are indented."""
    return "".join(f"{line}\n" for item in objects for line in _lines(item))


def _lines(item: KernelObject) -> list[str]:
    if isinstance(item, NftTable):
        head = f"NftTable family={item.family} name={item.name}"
        return [head, *(_INDENT + line for line in item.body.splitlines())]
    return _struct_lines(item)


def _struct_lines(item: Struct) -> list[str]:
    words, nested = [type(item).__name__], []
    for field in fields(item):
        value = getattr(item, field.name)
        if isinstance(value, Veth):
            value = value.pod
        if isinstance(value, Struct):
            nested += [_INDENT + line for line in _struct_lines(value)]
        elif isinstance(value, tuple) and any(isinstance(part, Struct) for part in value):
            nested += [_INDENT + line for part in value for line in _struct_lines(part)]
        elif value not in (None, "", (), False, 0):
            words.append(f"{field.name}={_text(value)}")
    return [" ".join(words), *nested]


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value) if " " not in str(value) else repr(str(value))
