"""What becomes of each thing when podway takes flanneld's place, in words for people. Pure.

In: what a flanneld left, what the agent wants, and the operations in between (`migration`). Out:
`Item`s, one line of the plan each.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from msgspec import Struct

from podway.compute.adoption import Adoption
from podway.diff.compare import Difference, compare
from podway.diff.operations import Operation, Verb
from podway.model.instances import Instance
from podway.model.kernel import Bridge, KernelObject, Key, Link, NftTable, Vxlan, link_key
from podway.model.leftovers import Leftovers, RuleSet


class Fate(Enum):
    """What becomes of one thing."""

    KEPT = "kept"
    RENAMED = "renamed"
    REPLACED = "replaced"
    ADDED = "added"
    REMOVED = "removed"
    LEFT = "left alone"
    BLOCKED = "blocked"


class Item(Struct, frozen=True):
    """One line of the plan."""

    fate: Fate
    what: str
    why: str = ""


def tell_blocked(
    left: Leftovers,
    wanted: Mapping[Key, KernelObject],
    state: Mapping[Key, KernelObject],
    instance: Instance,
) -> list[Item]:
    """Return what stands in the way, and what is left because podway has no such device."""
    items = [
        Item(Fate.BLOCKED, f"flanneld (process {pid})", "runs, and would undo it: stop it first")
        for pid in left.processes
    ]
    for key, item in wanted.items():
        there = state.get(key)
        if not isinstance(item, Link) or not isinstance(there, Link):
            continue
        if compare(item, there) is Difference.REMAKE:
            items.append(Item(Fate.BLOCKED, named(key), _why_not(item, there)))
        elif isinstance(item.kind, Bridge) and not there.alias.startswith(instance.marks.alias):
            why = "is another plugin's, with pods on it: say --foreign-pods, or drain the node"
            items.append(Item(Fate.BLOCKED, named(key), why))
    for name in left.strange:
        why = "packets of flannel's udp backend end with flanneld; the device goes with it"
        items.append(Item(Fate.LEFT, f"device {name}", why))
    return items


def _why_not(wanted: Link, there: Link) -> str:
    advice = "delete it (ip link delete) when connections may break for a moment"
    if isinstance(wanted.kind, Vxlan) and isinstance(there.kind, Vxlan):
        fields = ("vni", "local", "underlay", "port", "gbp", "learning")
        pairs = [(name, getattr(there.kind, name), getattr(wanted.kind, name)) for name in fields]
        words = [f"{name} {has}, not {shall}" for name, has, shall in pairs if has != shall]
        return f"cannot be changed in place, with {', '.join(words)}; {advice}"
    return f"is of another kind; {advice}"


def tell_devices(
    left: Leftovers, adoption: Adoption, wanted: Mapping[Key, KernelObject]
) -> list[Item]:
    """Return what becomes of flanneld's tunnels."""
    taken = {each.old: each for each in adoption.links}
    items = []
    for link in left.links:
        each = taken.get(link.name)
        new = each.new if each is not None else link.name
        if link_key(new) not in wanted:
            why = "the network has another backend now"
            items.append(Item(Fate.REMOVED, f"device {link.name}", why))
        elif new != link.name:
            items.append(Item(Fate.RENAMED, f"device {link.name}", f"to {new}; MAC {link.mac}"))
        else:
            items.append(Item(Fate.KEPT, f"device {link.name}", f"MAC {link.mac}"))
    return items


def tell_kept(
    wanted: Mapping[Key, KernelObject],
    state: Mapping[Key, KernelObject],
    operations: Sequence[Operation],
) -> list[Item]:
    """Return one line for all of a kind that stay as they are."""
    touched = {operation.key for operation in operations}
    counts: dict[str, int] = {}
    for key in wanted:
        if key in state and key not in touched and key.kind not in {"link", "sysctl"}:
            counts[key.kind] = counts.get(key.kind, 0) + 1
    return [
        Item(Fate.KEPT, f"{count} {_noun(kind, count)}", _MARKED.get(kind, ""))
        for kind, count in counts.items()
    ]


_NOUNS = {
    "address": ("address", "addresses"),
    "fdb": ("FDB entry", "FDB entries"),
    "nft": ("nftables table", "nftables tables"),
}
_MARKED = {"route": "podway's protocol number in place of flanneld's, without a gap"}


def _noun(kind: str, count: int) -> str:
    return _NOUNS.get(kind, (kind, f"{kind}s"))[count > 1]


def named(key: Key) -> str:
    """Return what people call the object with *key*."""
    match key.kind, key.parts:
        case "route", (_, _, dst, _):
            return f"route {dst}"
        case (("neighbour" | "fdb" | "address"), (dev, value)):
            return f"{_noun(key.kind, 1)} {value} on {dev}"
        case "link", (name,):
            return f"device {name}"
        case "nft", (family, name):
            return f"nftables table {family} {name}"
        case _:
            return str(key)


def tell_changes(operations: Sequence[Operation]) -> list[Item]:
    """Return one line for each operation."""
    fates = {Verb.CREATE: Fate.ADDED, Verb.CHANGE: Fate.REPLACED, Verb.DELETE: Fate.REMOVED}
    return [
        Item(fates[operation.verb], named(operation.key), _reason(operation))
        for operation in operations
    ]


def _reason(operation: Operation) -> str:
    before, after = operation.observed, operation.desired
    if after is None:
        return "no node needs it"
    if before is None or isinstance(after, NftTable):
        return ""
    names = [name for name in after.__struct_fields__ if _differ(after, before, name)]
    return ", ".join(f"{name} {_get(before, name)} -> {_get(after, name)}" for name in names)


def _differ(after: KernelObject, before: KernelObject, name: str) -> bool:
    return _get(after, name) not in (None, _get(before, name))


def _get(item: KernelObject, name: str) -> object:
    return getattr(item, name, None)


def tell_rules(left: Leftovers, removed: Sequence[RuleSet]) -> list[Item]:
    """Return what becomes of flanneld's rules; *removed* are those that go."""
    items = []
    for each in left.rules:
        text = f"{each.rules} rules"
        if each in removed:
            items.append(Item(Fate.REMOVED, str(each), f"{text}, once podway's are in force"))
        else:
            why = f"{text}; the policy of chain FORWARD is to drop what they accept"
            items.append(Item(Fate.LEFT, str(each), why))
    return items
