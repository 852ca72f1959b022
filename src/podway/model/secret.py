"""Values that must reach the kernel and nobody's eyes."""

from msgspec import Struct


class Secret(Struct, frozen=True):
    """A text that shows itself in no log line, error message or dump; compares as the text does."""

    value: str

    def __repr__(self) -> str:
        return "Secret(set)" if self.value else "Secret(empty)"

    def __bool__(self) -> bool:
        return bool(self.value)

    __str__ = __repr__
