"""What a backend has to say about one peer: what to have, what to run, why anything is missing."""

from msgspec import Struct

from podway.model.kernel import KernelObject
from podway.model.programs import Program


class PeerPlan(Struct, frozen=True):
    """What this node's kernel should hold because of one peer.

    Attributes:
        objects: all that the peer needs.
        program: what the operator's own programs do for it.
        skipped: for people, one sentence for each part of the peer that cannot be reached.
    """

    objects: tuple[KernelObject, ...] = ()
    skipped: tuple[str, ...] = ()
    program: Program | None = None
