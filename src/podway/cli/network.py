"""``podway network``: the cluster's network, as it stands in the store."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from podway.cli.arguments import add_groups, add_leaf
from podway.cli.network_view import network_fields, render_network
from podway.cli.output import plural, print_json, style_of
from podway.cli.store_access import add_store, ask_store
from podway.compute.pool_use import PoolUse, compute_use
from podway.errors import ConfigError
from podway.model.networks import Network, parse_network
from podway.model.unknown_keys import find_unknown_keys
from podway.store.engines import net_conf_parser
from podway.store.flannel_data import parse_net_conf
from podway.store.protocol import AdminStore, StoredNetwork, StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe ``podway network``'s commands."""
    parser.epilog = "FILE is a net-conf.json with flannel's keys; '-' reads standard input."
    group = add_groups(parser)
    add_store(add_leaf(group, "show", _show, "show the network and who uses its prefixes"))
    check = add_leaf(group, "check", _check, "check a net-conf.json, without any store")
    check.add_argument("file", metavar="FILE", help="the net-conf.json")
    apply = add_leaf(group, "apply", _apply, "make a net-conf.json the cluster's network")
    apply.add_argument("file", metavar="FILE", help="the net-conf.json")
    apply.add_argument(
        "--force", action="store_true", help="even if leased subnets no longer fit into it"
    )
    add_store(apply)


def _show(args: argparse.Namespace) -> int:
    async def read(store: AdminStore) -> tuple[StoredNetwork, tuple[PoolUse, ...]]:
        stored = await store.get_network()
        if stored is None:
            rule = "set one with 'podway network apply FILE'"
            raise StoreError(f"the store holds no network yet: {rule}")
        statuses = await store.list_nodes()
        kept = {each.name: each.subnets for each in await store.list_reservations()}
        nodes = [status.node for status in statuses]
        return stored, compute_use(parse(stored.text), nodes, kept)

    parse = net_conf_parser(args.store)
    stored, uses = ask_store(args, read)
    return _print(args, stored.text, parse(stored.text), f"revision {stored.revision}", uses)


def _check(args: argparse.Namespace) -> int:
    text = _read(args.file)
    network = parse_network(text)
    unknown = find_unknown_keys(text)
    remark = f"{args.file} is " + (
        f"accepted without {plural(len(unknown), 'key')}" if unknown else "in order"
    )
    if parse_net_conf(text) != network:
        remark += "; in etcd and Kubernetes its backend is udp, as flanneld has it: name one"
    return _print(args, text, network, remark)


def _apply(args: argparse.Namespace) -> int:
    text = _read(args.file)
    network = net_conf_parser(args.store)(text)

    async def put(store: AdminStore) -> tuple[StoredNetwork | None, int]:
        stored = await store.get_network()
        if stored is not None and stored.text == text:
            return stored, stored.revision
        expected = stored.revision if stored is not None else 0
        revision = await store.put_network(text, expected_revision=expected, force=args.force)
        return stored, revision

    before, revision = ask_store(args, put)
    unchanged = before is not None and before.revision == revision
    done = "unchanged" if unchanged else "applied"
    return _print(args, text, network, f"{done}, revision {revision}")


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("FILE", name, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("FILE", name, f"must be UTF-8: {error}") from error


def _print(
    args: argparse.Namespace,
    text: str,
    network: Network,
    remark: str,
    uses: tuple[PoolUse, ...] | None = None,
) -> int:
    unknown, style = find_unknown_keys(text), style_of(sys.stdout)
    if args.json:
        document = {
            "network": _without_secrets(json.loads(text)),
            "remark": remark,
            "unknown_keys": [
                {"key": each.key, "nearest": each.nearest or None} for each in unknown
            ],
        }
        print_json(document if uses is None else {**document, "use": network_fields(uses)})
    else:
        shown = render_network(network, style, uses)
        told = [style.warn(str(each)) for each in unknown]
        print("\n".join((*shown, "", *told, remark)))
    return 0


def _without_secrets(document: Any) -> Any:
    """Return *document* without what must not stand on a screen or in a log: the wireguard PSK."""
    if isinstance(document, dict):
        return {
            key: "(set)" if key.lower() == "psk" and value else _without_secrets(value)
            for key, value in document.items()
        }
    return document
