"""How the lab tells what it is doing: one call per step, to whoever shows it."""

from typing import Protocol


class Report(Protocol):
    """Takes one step that was done: about which member of the lab, and what."""

    def __call__(self, member: str, text: str, /) -> None:
        """Show the step."""
        ...


def silent(_member: str, _text: str, /) -> None:
    """Show nothing."""
