"""What the kernel takes for the identity of one object.

A second route with the same table, prefix and metric replaces the first one: those three and the
family are its key. Two states compare by key, and a difference is exactly what has to be written.
"""

from msgspec import Struct


class Key(Struct, frozen=True, order=True):
    """What the kernel takes for the identity of one object."""

    kind: str
    parts: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(str(part) for part in self.parts if part != '')}"
