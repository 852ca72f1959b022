"""``podway network``: the cluster's network, as it stands in the store."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from podway.cli.arguments import add_groups, add_leaf
from podway.cli.output import print_json, render_table, style_of
from podway.cli.store_access import add_store, ask_store
from podway.errors import ConfigError
from podway.model.networks import (
    Network,
    UdpConfig,
    VxlanConfig,
    WireguardConfig,
    parse_network,
)
from podway.store.protocol import AdminStore, StoredNetwork, StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe ``podway network``'s commands."""
    parser.epilog = "FILE is a net-conf.json with flannel's keys; '-' reads standard input."
    group = add_groups(parser)
    add_store(add_leaf(group, "show", _show, "show the network that the store holds"))
    check = add_leaf(group, "check", _check, "check a net-conf.json, without any store")
    check.add_argument("file", metavar="FILE", help="the net-conf.json")
    apply = add_leaf(group, "apply", _apply, "make a net-conf.json the cluster's network")
    apply.add_argument("file", metavar="FILE", help="the net-conf.json")
    apply.add_argument(
        "--force", action="store_true", help="even if leased subnets no longer fit into it"
    )
    add_store(apply)


def run(_args: argparse.Namespace) -> int:
    """Never reached: one of the commands above is required."""
    raise AssertionError("network needs a command")


def _show(args: argparse.Namespace) -> int:
    stored = ask_store(args, lambda store: store.get_network())
    if stored is None:
        raise StoreError("the store holds no network yet: set one with 'podway network apply FILE'")
    return _print(args, stored.text, parse_network(stored.text), f"revision {stored.revision}")


def _check(args: argparse.Namespace) -> int:
    text = _read(args.file)
    return _print(args, text, parse_network(text), f"{args.file} is in order")


def _apply(args: argparse.Namespace) -> int:
    text = _read(args.file)
    network = parse_network(text)

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


def _print(args: argparse.Namespace, text: str, network: Network, remark: str) -> int:
    if args.json:
        print_json({"network": _without_secrets(json.loads(text)), "remark": remark})
    else:
        print("\n".join((*render_network(network), "", remark)))
    return 0


def _without_secrets(document: Any) -> Any:
    """Return *document* without what must not stand on a screen or in a log: the wireguard PSK."""
    if isinstance(document, dict):
        return {
            key: "(set)" if key.lower() == "psk" and value else _without_secrets(value)
            for key, value in document.items()
        }
    return document


def render_network(network: Network) -> list[str]:
    """Return what *network* means, for people."""
    pools = [
        (pool.family.label, str(pool.prefix), f"/{pool.subnet_len}", _range(pool))
        for pool in network.pools
    ]
    header = ("FAMILY", "NETWORK", "PER NODE", "SUBNETS")
    return [
        *render_table(header, pools, style_of(sys.stdout)),
        "",
        f"backend     {_backend(network)}",
        f"attach      {network.attach}",
        f"masquerade  {'yes' if network.masquerade else 'no'}{_exempt(network)}",
    ]


def _range(pool: Any) -> str:
    return f"{pool.subnet_min.network_address} to {pool.subnet_max.network_address}"


def _backend(network: Network) -> str:
    words = [network.backend_name]
    match network.backend:
        case VxlanConfig() as config:
            words += [f"VNI {config.vni}", f"UDP port {config.port}"]
        case UdpConfig(port=port):
            words.append(f"UDP port {port}")
        case WireguardConfig() as config:
            words += [f"mode {config.mode}", f"UDP port {config.listen_port}"]
            words += [f"{config.listen_port_v6} for IPv6"] if config.mode == "separate" else []
            words += ["a shared secret"] if config.psk else []
        case _:
            pass
    if getattr(network.backend, "direct_routing", False):
        words.append("direct routing")
    return ", ".join(words)


def _exempt(network: Network) -> str:
    prefixes = ", ".join(map(str, network.non_masquerade))
    return f", but not towards {prefixes}" if prefixes else ""
