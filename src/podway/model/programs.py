"""What an operator's own programs have to do: run one to make something so, another to undo it."""

from typing import TypeAlias

from msgspec import Struct

# An argument vector: never a line for a shell.
Command: TypeAlias = tuple[str, ...]
NODE = "node"


class Program(Struct, frozen=True, kw_only=True):
    """One thing that programs do and undo, as values: two that are equal have the same effect.

    Attributes:
        name: for what: ``node``, or a peer's name behind ``peer/``.
        do: run to make it so; empty for nothing to run.
        undo: run to take it back; empty for nothing to run.
        variables: what both find in their environment.
        stdin: what both read.
    """

    name: str
    do: Command = ()
    undo: Command = ()
    variables: dict[str, str] = {}
    stdin: str = ""


def peer_program_name(peer: str) -> str:
    """Return the name of what is done for *peer*."""
    return f"peer/{peer}"
