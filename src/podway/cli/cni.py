"""``podway cni``: CNI executables and their configuration, where the container runtime looks."""

import argparse
from pathlib import Path

from podway.agent.places import cni_socket_of
from podway.cli.agents import add_instance
from podway.cli.arguments import add_groups, add_leaf
from podway.cli.output import print_json
from podway.cni.frames import DEFAULT_AGENT_SOCKET
from podway.plugins.conflists import Conflist
from podway.plugins.install import install

DEFAULT_BIN_DIR = Path("/opt/cni/bin")
DEFAULT_CONF_DIR = Path("/etc/cni/net.d")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe ``podway cni``'s commands."""
    group = add_groups(parser)
    leaf = add_leaf(
        group,
        "install",
        _install,
        "put the plugin executables and 10-podway.conflist in place",
        epilog="May be repeated; files are replaced whole, so a runtime never sees half of one.",
    )
    leaf.add_argument(
        "directory",
        metavar="DIR",
        nargs="?",
        type=Path,
        default=DEFAULT_BIN_DIR,
        help="for the executables (default: %(default)s)",
    )
    leaf.add_argument(
        "--conf-dir",
        type=Path,
        default=DEFAULT_CONF_DIR,
        metavar="DIR",
        help="for the network configuration (default: %(default)s)",
    )
    leaf.add_argument("--no-conf", action="store_true", help="executables only")
    leaf.add_argument("--create", action="store_true", help="make directories that are missing")
    leaf.add_argument(
        "--replace", action="store_true", help="replace a configuration that was changed"
    )
    leaf.add_argument("--network", default="podway", help="name of the network (podway)")
    leaf.add_argument(
        "--attach", choices=("bridge", "routed"), help="default: what the cluster's network says"
    )
    leaf.add_argument("--mtu", type=int, metavar="BYTES", help="of pods (default: what fits)")
    leaf.add_argument(
        "--agent-socket",
        metavar="PATH",
        help=f"where the agent listens (default: {DEFAULT_AGENT_SOCKET}, or the instance's)",
    )
    add_instance(leaf, "pods are attached by the agent that was started with this --instance")


def _install(args: argparse.Namespace) -> int:
    conflist = Conflist(
        directory=args.conf_dir,
        network=args.network,
        attach=args.attach,
        mtu_bytes=args.mtu,
        agent_socket=args.agent_socket or _own_socket(args.instance),
        replace=args.replace,
    )
    report = install(
        args.directory,
        conflist=None if args.no_conf else conflist,
        create_directories=args.create,
    )
    if args.json:
        steps = [
            {"path": str(step.file.path), "action": step.action.value} for step in report.steps
        ]
        print_json({"files": steps})
    else:
        print("\n".join(report.lines()))
    return 0


def _own_socket(instance: str) -> str | None:
    """Return where the agent of *instance* serves the plugin; None: where the plugin looks."""
    return str(cni_socket_of(instance)) if instance else None
