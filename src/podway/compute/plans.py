"""What a backend has to say about one peer: objects to have, and why anything is missing."""

from msgspec import Struct

from podway.model.kernel import KernelObject


class PeerPlan(Struct, frozen=True):
    """What this node's kernel should hold because of one peer.

    Attributes:
        objects: all that the peer needs.
        skipped: for people, one sentence for each part of the peer that cannot be reached.
    """

    objects: tuple[KernelObject, ...] = ()
    skipped: tuple[str, ...] = ()
