"""Every command of ``podway``: its name, the module that carries it out, what it is for.

The help texts stand here and not in the modules, so that ``podway --help`` imports none of them.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """One command of ``podway``.

    Attributes:
        name: what the user types.
        module: has ``add_arguments(parser)`` and ``run(args) -> int``.
        help: one line, for somebody who has never heard of podway.
    """

    name: str
    module: str
    help: str


COMMANDS = (
    Command("lab", "podway.cli.lab", "try it: run a whole cluster on this machine, without Docker"),
    Command("status", "podway.cli.status", "show how this node is doing, on one screen"),
    Command("diff", "podway.cli.diff", "show what podway would change in this node's kernel"),
    Command("ipam", "podway.cli.ipam", "show, check or release the pod addresses of this node"),
    Command("node", "podway.cli.node", "list, remove or reserve the nodes of the cluster"),
    Command("network", "podway.cli.network", "show, check or set the cluster's network"),
    Command("cni", "podway.cli.cni", "put the CNI plugin where the container runtime finds it"),
    Command("agent", "podway.agent.main", "run the agent; every node needs one"),
    Command("flanneld", "podway.cli.flanneld", "run the agent in flanneld's place, by its flags"),
    Command("migrate", "podway.cli.migrate", "take over this node from flanneld, packets flowing"),
    Command(
        "docker-opts", "podway.cli.docker_opts", "write Docker's options for this node's subnet"
    ),
    Command("dhcp", "podway.dhcp.main", "run the daemon that keeps DHCP leases for CNI"),
    Command("hub", "podway.hub.main", "run the hub, the small database that the agents share"),
    Command(
        "uninstall",
        "podway.cli.uninstall",
        "take everything of podway's out of this node's kernel, and verify it",
    ),
    Command(
        "completion", "podway.cli.completion", "print a completion script for bash, zsh or fish"
    ),
    Command("version", "podway.cli.version", "print the version"),
)
