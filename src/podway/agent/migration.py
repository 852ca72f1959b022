"""What it means for a node that podway takes flanneld's place: a plan, and its execution.

In: what a flanneld left (`Leftovers`), the cluster as its store has it, the node's uplink. Out: a
`Migration`: for people what becomes of each thing, for the kernel the adoption and then the same
operations that an agent would find, since they come from the same functions. Called by ``podway
migrate``; everything but `carry_out` is pure. The plan's words are those of `migration_words`.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from podway.agent.migration_words import (
    Fate,
    Item,
    named,
    tell_blocked,
    tell_changes,
    tell_devices,
    tell_kept,
    tell_rules,
)
from podway.compute.adoption import Adoption, compute_adoption
from podway.compute.dressing import dress
from podway.compute.node import Place, compute_own, compute_peer
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
    FdbEntry,
    KernelObject,
    Key,
    Neighbour,
    Route,
)
from podway.model.leftovers import Leftovers, RuleSet
from podway.model.networks import Network
from podway.model.nodes import Node

_MAX_ROUNDS = 8


class MigrationError(PodwayError):
    """The node cannot be taken over as it is; nothing, or not everything, was done."""


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
            *tell_blocked(left, wanted, state, instance),
            *tell_devices(left, adoption, wanted),
            *tell_kept(wanted, state, operations),
            *tell_changes(operations),
            *(Item(Fate.REMOVED, named(each.key), "no node has this subnet") for each in stale),
            *tell_rules(left, rules),
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
