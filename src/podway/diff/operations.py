"""One write to the kernel, as a value: what the diff produces and the kernel layer carries out."""

from enum import Enum

from msgspec import Struct

from podway.model.kernel import KernelObject, Key


class Verb(Enum):
    """What is done to one object.

    CREATE: nothing has the key yet. CHANGE: something has it, and can be turned into what is wanted
    in place, without a moment in which neither is there. DELETE: what has the key goes.
    A device that differs in what is fixed at creation is a DELETE followed by a CREATE.
    """

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


class Operation(Struct, frozen=True):
    """One write.

    Attributes:
        verb: what is done.
        key: to which object.
        desired: what shall be there; None for DELETE.
        observed: what was there when the operation was planned; None for CREATE.
    """

    verb: Verb
    key: Key
    desired: KernelObject | None = None
    observed: KernelObject | None = None

    def __str__(self) -> str:
        return f"{self.verb.value} {self.key}"
