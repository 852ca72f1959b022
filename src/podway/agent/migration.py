"""What it means for a node that podway takes flanneld's place: a plan, and its execution.

In: what a flanneld left (`Leftovers`), the cluster as its store has it, the node's uplink. Out: a
`Migration`: for people what becomes of each thing, for the kernel the adoption and then the same
operations that an agent would find, since they come from the same functions. Called by ``podway
migrate``; everything but `carry_out` is pure.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from podway.compute.adoption import Adoption, compute_adoption
from podway.compute.dressing import dress
from podway.compute.node import Place, compute_own, compute_peer
from podway.diff.compare import Difference, compare
from podway.diff.operations import Operation, Verb
from podway.diff.tracker import Tracker
from podway.errors import PodwayError
from podway.kernel.flannel_rules import remove_rule_sets
from podway.kernel.leftovers import adopt
from podway.kernel.protocol import Kernel
from podway.model.addresses import family_of, prefix_contains
from podway.model.instances import Instance
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NftTable,
    Route,
    Vxlan,
    link_key,
)
from podway.model.leftovers import Leftovers, RuleSet
from podway.model.networks import Network
from podway.model.nodes import Node

_MAX_ROUNDS = 8


class MigrationError(PodwayError):
    """The node cannot be taken over as it is; nothing, or not everything, was done."""


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


class Migration(Struct, frozen=True, kw_only=True):
    """All that is to be done.

    Attributes:
        items: for people.
        adoption: what becomes ours first.
        desired: what shall be there in the end.
        stale: routes of flanneld's to nodes that are gone.
        rules: flanneld's, to be removed last.
    """

    items: tuple[Item, ...]
    adoption: Adoption
    desired: tuple[KernelObject, ...]
    stale: tuple[Route, ...]
    rules: tuple[RuleSet, ...]

    @property
    def is_blocked(self) -> bool:
        """Something stands in the way."""
        return any(item.fate is Fate.BLOCKED for item in self.items)


def compute_desired(place: Place, nodes: Sequence[Node], instance: Instance) -> list[KernelObject]:
    """Return what an agent of *instance* wants of the kernel of a node at *place*."""
    peers = [compute_peer(place, node).objects for node in nodes if node.name != place.me.name]
    objects = (*compute_own(place), *(item for objects in peers for item in objects))
    return list({item.key: item for item in dress(objects, instance)}.values())


def plan_migration(
    left: Leftovers,
    place: Place,
    nodes: Sequence[Node],
    instance: Instance,
    found: Mapping[Key, KernelObject],
) -> Migration:
    """Return what has to be done.

    Args:
        left: what flanneld left.
        place: where the agent will stand.
        nodes: all that the store knows.
        instance: names and marks of what will be the agent's.
        found: what the kernel has at keys that the agent wants (names as they will be).
    """
    adoption = compute_adoption(left, instance)
    desired = compute_desired(place, nodes, instance)
    state = dict(found) | _adopted_state(left, adoption, instance)
    wanted = {item.key: item for item in desired}
    stale = tuple(each for each in left.direct if _is_stale(each, place.network, wanted))
    operations = _operations(desired, state, instance)
    rules = tuple(each for each in left.rules if not each.is_needed or not place.forward)
    return Migration(
        items=(
            *_blocked(left, wanted, state, instance),
            *_devices(left, adoption, wanted),
            *_counted(wanted, state, operations),
            *_changes(operations),
            *(Item(Fate.REMOVED, _named(each.key), "no node has this subnet") for each in stale),
            *_rules(left, rules),
        ),
        adoption=adoption,
        desired=tuple(desired),
        stale=stale,
        rules=rules,
    )


def carry_out(migration: Migration, kernel: Kernel, instance: Instance) -> None:
    """Do it. May be done again after any interruption.

    Raises:
        MigrationError: the kernel refused something; the rest is done.
        KernelError: nothing could be asked of the kernel.
    """
    adopt(migration.adoption)
    tracker = Tracker(instance.marks)
    tracker.sweeping = True
    tracker.desire(("migration",), migration.desired)
    tracker.observe_all(kernel.read(list(tracker.wanted())))
    for _ in range(_MAX_ROUNDS):
        operations = tracker.plan()
        if not operations:
            break
        for operation, error in zip(operations, kernel.apply(operations), strict=True):
            tracker.record(operation, error, 0.0)
    gone = [Operation(Verb.DELETE, each.key, None, each) for each in migration.stale]
    failed = [str(failure.error) for failure in tracker.failures.values()]
    failed += [str(error) for error in kernel.apply(gone) if error is not None]
    if failed:
        raise MigrationError(
            f"the kernel refused {len(failed)} of all operations, first: {failed[0]}; flanneld's "
            "rules are still in force: mend the cause and say it again"
        )
    remove_rule_sets(migration.rules)


# --- what the kernel will hold when the adoption is done ------------------------------------------


def _adopted_state(
    left: Leftovers, adoption: Adoption, instance: Instance
) -> dict[Key, KernelObject]:
    names = {each.old: each.new for each in adoption.links}
    aliases = {each.old: each.alias for each in adoption.links}
    items: list[KernelObject] = [
        replace(
            link,
            name=names.get(link.name, link.name),
            alias=aliases.get(link.name, link.alias),
        )
        for link in left.links
    ]
    items += [_renamed(entry, names) for entry in left.entries]
    items += adoption.routes
    del instance
    return {item.key: item for item in items}


def _renamed(
    entry: Address | Neighbour | FdbEntry, names: Mapping[str, str]
) -> Address | Neighbour | FdbEntry:
    return replace(entry, dev=names.get(entry.dev, entry.dev))


def _operations(
    desired: Sequence[KernelObject], state: Mapping[Key, KernelObject], instance: Instance
) -> list[Operation]:
    tracker = Tracker(instance.marks)
    tracker.sweeping = True
    tracker.desire(("migration",), desired)
    tracker.observe_all(state)
    return tracker.plan()


def _is_stale(route: Route, network: Network, wanted: Mapping[Key, KernelObject]) -> bool:
    """Tell whether a route by way of another machine was flanneld's, to a node that is gone.

    Such routes bear no mark. One to a whole subnet of the network that no node has is none that
    anything else could need.
    """
    if route.key in wanted:
        return False
    return any(
        prefix_contains(pool.prefix, route.dst) and route.dst.prefixlen == pool.subnet_len
        for pool in network.pools_of(family_of(route.dst))
    )


# --- in words ---------------------------------------------------------------------------------


def _blocked(
    left: Leftovers,
    wanted: Mapping[Key, KernelObject],
    state: Mapping[Key, KernelObject],
    instance: Instance,
) -> list[Item]:
    items = [
        Item(Fate.BLOCKED, f"flanneld (process {pid})", "runs, and would undo it: stop it first")
        for pid in left.processes
    ]
    for key, item in wanted.items():
        there = state.get(key)
        if not isinstance(item, Link) or not isinstance(there, Link):
            continue
        if compare(item, there) is Difference.REMAKE:
            items.append(Item(Fate.BLOCKED, _named(key), _why_not(item, there)))
        elif isinstance(item.kind, Bridge) and not there.alias.startswith(instance.marks.alias):
            why = "is another plugin's, with pods on it: say --foreign-pods, or drain the node"
            items.append(Item(Fate.BLOCKED, _named(key), why))
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


def _devices(left: Leftovers, adoption: Adoption, wanted: Mapping[Key, KernelObject]) -> list[Item]:
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


def _counted(
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


def _named(key: Key) -> str:
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


def _changes(operations: Sequence[Operation]) -> list[Item]:
    fates = {Verb.CREATE: Fate.ADDED, Verb.CHANGE: Fate.REPLACED, Verb.DELETE: Fate.REMOVED}
    return [
        Item(fates[operation.verb], _named(operation.key), _reason(operation))
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


def _rules(left: Leftovers, removed: Sequence[RuleSet]) -> list[Item]:
    items = []
    for each in left.rules:
        text = f"{each.rules} rules"
        if each in removed:
            items.append(Item(Fate.REMOVED, str(each), f"{text}, once podway's are in force"))
        else:
            why = f"{text}; the policy of chain FORWARD is to drop what they accept"
            items.append(Item(Fate.LEFT, str(each), why))
    return items
