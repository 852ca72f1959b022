"""Is what is there what is wanted, and if not, can it become so in place?"""

from enum import Enum

from podway.model.instances import is_unfinished
from podway.model.kernel import KernelObject, Link, Veth


class Difference(Enum):
    """NONE: alike in all that was asked for. CHANGE: can be mended in place. REMAKE: only anew."""

    NONE = "none"
    CHANGE = "change"
    REMAKE = "remake"


def compare(desired: KernelObject, observed: KernelObject) -> Difference:
    """Return how *observed* differs from *desired*; both have one key."""
    if isinstance(desired, Link) and isinstance(observed, Link):
        return _compare_links(desired, observed)
    return Difference.NONE if desired == observed else Difference.CHANGE


def _compare_links(desired: Link, observed: Link) -> Difference:
    if not _same_kind(desired, observed) or is_unfinished(observed.alias):
        return Difference.REMAKE
    return Difference.NONE if _settable(desired, observed) else Difference.CHANGE


def _same_kind(desired: Link, observed: Link) -> bool:
    if isinstance(desired.kind, Veth):
        # How the pod's side was made is written down nowhere in the host end.
        return isinstance(observed.kind, Veth)
    return desired.kind == observed.kind


def _settable(desired: Link, observed: Link) -> bool:
    """Tell whether all that can be changed in place is as wanted; None means "as it is"."""
    return (
        desired.mtu in (None, observed.mtu)
        and desired.mac in (None, observed.mac)
        and desired.hairpin in (None, observed.hairpin)
        and desired.master == observed.master
        and desired.alias == observed.alias
        and desired.up == observed.up
    )
