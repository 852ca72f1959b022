"""``podway migrate``: what it means for this node that podway takes flanneld's place; and does it.

The options are the agent's, so that what is shown is what an agent with these would want; after
``--flanneld`` they are flanneld's own. Nothing but reading is done without ``--apply``. With it the
node's kernel is left as the agent wants it, and what the agent needs to go on from there is in its
state directory: the lease, the cluster, the WireGuard key.
"""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from podway.agent import settings as agent_settings
from podway.agent.cluster import Cluster
from podway.agent.flanneld import WIREGUARD_KEY_FILE, translate
from podway.agent.ledger import Ledger
from podway.agent.main import only_one
from podway.agent.memory import Memory
from podway.agent.migration import (
    Migration,
    MigrationError,
    carry_out,
    compute_desired,
    plan_migration,
)
from podway.agent.migration_words import Fate, Item
from podway.agent.place import place_of
from podway.agent.places import LEDGER
from podway.agent.settings import Settings, settings_from, wireguard_key_file
from podway.agent.uplinks import find_uplink
from podway.cli.arguments import add_json
from podway.cli.flanneld import settings_of
from podway.cli.output import Style, print_json, render_table, style_of
from podway.compute.node import Place
from podway.compute.uplinks import public_addresses
from podway.errors import ConfigError
from podway.kernel.leftovers import read_leftovers
from podway.kernel.logs import get_log
from podway.kernel.node import NodeKernel
from podway.model.networks import Network, WireguardConfig
from podway.model.nodes import Node, Uplink
from podway.store.access import access_from
from podway.store.engines import open_store
from podway.store.flannel_data import parse_net_conf
from podway.store.protocol import AdminStore, Snapshot, StoreError


class Seen(Struct, frozen=True, kw_only=True):
    """What the store has: the network and its nodes, this one under the name that it will have."""

    network: Network
    nodes: tuple[Node, ...]
    me: Node


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway migrate``."""
    parser.epilog = (
        "Stop flanneld, look, then say it again with --apply, then start the agent with the same "
        "options. May be said again after any interruption. Exit code 1 when something is in the "
        "way."
    )
    parser.add_argument("--apply", action="store_true", help="do it; without it only look")
    add_json(parser)
    agent_settings.add_arguments(parser)
    parser.add_argument(
        "--flanneld",
        nargs=argparse.REMAINDER,
        metavar="FLAG",
        help="the rest are flanneld's flags: for an agent run as 'podway flanneld FLAG...'",
    )


def run(args: argparse.Namespace) -> int:
    """Show the plan, and carry it out where that was asked for; 1 when something is in the way."""
    settings = _settings(args)
    seen, uplink, migration = _look(settings)
    if args.apply and not migration.is_blocked:
        _apply(settings, seen, uplink, migration)
    _print(migration, done=args.apply and not migration.is_blocked, as_json=args.json)
    return 1 if migration.is_blocked else 0


def _settings(args: argparse.Namespace) -> Settings:
    if args.flanneld is None:
        return settings_from(args)
    return settings_of(translate(args.flanneld, os.environ), os.environ)


def _look(settings: Settings) -> tuple[Seen, Uplink, Migration]:
    with _kernel(settings) as kernel:
        uplink = find_uplink(kernel, settings.uplink_choice)
        if uplink is None:
            rule = f"this node has no {settings.uplink_choice}: name its interface"
            raise ConfigError("--uplink", "", rule)
        seen = asyncio.run(_ask(settings, uplink))
        place = _place(settings, seen, uplink)
        wanted = compute_desired(place, seen.nodes, settings.names)
        migration = plan_migration(
            read_leftovers(settings.names),
            place,
            seen.nodes,
            settings.names,
            kernel.read([item.key for item in wanted]),
        )
    return seen, uplink, migration


def _place(settings: Settings, seen: Seen, uplink: Uplink) -> Place:
    return place_of(settings, seen.network, seen.me, uplink, bridged=False)


@contextmanager
def _kernel(settings: Settings) -> Iterator[NodeKernel]:
    kernel = NodeKernel(
        run_dir=settings.run_dir,
        wireguard_key=wireguard_key_file(settings),
        marks=settings.names.marks,
    )
    try:
        yield kernel
    finally:
        kernel.close()


# --- the store --------------------------------------------------------------------------------


async def _ask(settings: Settings, uplink: Uplink) -> Seen:
    store = open_store(settings.store, access_from(settings))
    try:
        return await _read(store, settings, uplink)
    finally:
        await store.close()


async def _read(store: AdminStore, settings: Settings, uplink: Uplink) -> Seen:
    stored = await store.get_network()
    if stored is None:
        raise StoreError(f"{settings.store} holds no network: is it the one that flanneld uses?")
    network = parse_net_conf(stored.text)
    nodes = [status.node for status in await store.list_nodes()]
    own = find_own(nodes, network, settings, uplink)
    me = replace(own, name=settings.node)
    others = (node for node in nodes if node is not own)
    return Seen(network=network, me=me, nodes=(*others, me))


def find_own(nodes: Sequence[Node], network: Network, settings: Settings, uplink: Uplink) -> Node:
    """Return the node of *nodes* that is this one: by its name, else by its public address.

    Raises:
        MigrationError: none of them is.
    """
    for node in nodes:
        if node.name == settings.node:
            return node
    addresses = set(public_addresses(network, uplink, settings.public_ips).values())
    for node in nodes:
        if any(lease.public_ip in addresses for lease in node.leases):
            return node
    shown = ", ".join(map(str, addresses))
    raise MigrationError(
        f"nobody in {settings.store} is called {settings.node} or has the address {shown}: name "
        "the node (--node) or its interface (--uplink) as flanneld had them; a node that never ran "
        "flanneld needs no migration"
    )


# --- doing it ---------------------------------------------------------------------------------


def _apply(settings: Settings, seen: Seen, uplink: Uplink, migration: Migration) -> None:
    del uplink
    with only_one(settings.names), _kernel(settings) as kernel:
        if isinstance(seen.network.backend, WireguardConfig):
            _take_key(Path(WIREGUARD_KEY_FILE), wireguard_key_file(settings))
        _remember(settings, seen)
        carry_out(migration, kernel, settings.names)


def _take_key(source: Path, target: Path) -> None:
    """Make flanneld's key the agent's, unless that has one."""
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.taken")
    shutil.copyfile(source, draft)
    draft.chmod(0o400)
    draft.replace(target)


def _remember(settings: Settings, seen: Seen) -> None:
    """Have the agent start from what is known here: its lease, and the peers' ways."""
    ledger = Ledger(settings.state_dir / LEDGER)
    try:
        memory = Memory(ledger, get_log("podway.migrate"))
        cluster = Cluster()
        cluster.hear(Snapshot(revision=0, network=seen.network, nodes=seen.nodes))
        memory.keep(cluster, cluster.nodes, None)
        memory.keep_me(seen.me)
        ledger.flush()
    finally:
        ledger.close()


# --- showing it -------------------------------------------------------------------------------


def _print(migration: Migration, *, done: bool, as_json: bool) -> None:
    if as_json:
        print_json(_fields(migration, done=done))
        return
    style = style_of(sys.stdout)
    print("\n".join(render_items(migration.items, style)))
    if migration.is_blocked:
        print(style.bad("\nNothing was done. What is blocked must be out of the way first."))
    elif done:
        print("\nDone. Start the agent now, with the same options.")
    else:
        print("\nNothing was done. Say it again with --apply.")


def _fields(migration: Migration, *, done: bool) -> dict[str, Any]:
    items = [{"fate": i.fate.value, "what": i.what, "why": i.why} for i in migration.items]
    return {"done": done, "blocked": migration.is_blocked, "items": items}


def render_items(items: Sequence[Item], style: Style) -> list[str]:
    """Return the plan as a table."""
    marks = {Fate.BLOCKED: style.bad, Fate.REPLACED: style.warn, Fate.REMOVED: style.warn}
    rows = [
        (marks.get(item.fate, style.good)(item.fate.value), item.what, item.why) for item in items
    ]
    if not rows:
        return ["Nothing of flanneld's is here, and nothing is missing."]
    return render_table(("", "WHAT", "HOW"), rows, style)
