"""Values that must reach the kernel and nobody's eyes."""

from typing import Final


class Secret:
    """A text that shows itself in no log line, error message or dump; compares as the text does.

    No `Struct`: those are written out field by field wherever a value is shown.
    """

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value: Final = value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return "(set)" if self.value else "(none)"
