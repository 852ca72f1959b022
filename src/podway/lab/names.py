"""How labs and their parts are called, and where their files lie.

The names are the lab's real state: everything that belongs to the lab ``blue`` is a namespace
``podway-blue-*``, a process in such a namespace, or a file below ``/run/podway/lab/blue``. That is
how `teardown` finds a lab whose state file is damaged. A lab's name therefore holds no hyphen.
"""

import re
from pathlib import Path

from podway.agent.places import AGENT_SOCKET
from podway.errors import ArgumentError

LABS_DIR = Path("/run/podway/lab")
NETNS_DIR = Path("/run/netns")
# As `podway.cli.lab` has it, which loads nothing of this for a help text.
DEFAULT_LAB = "lab"
FABRIC = "fabric"
HUB = "hub"
NODE = re.compile(r"n([1-9][0-9]{0,2})")

_LAB = re.compile(r"[a-z][a-z0-9]{0,14}")
_POD = re.compile(r"[a-z][a-z0-9-]{0,29}")
_NAMESPACE = re.compile(r"podway-([a-z][a-z0-9]{0,14})-([a-z][a-z0-9-]{0,29})")


def check_lab_name(name: str) -> str:
    """Return *name*. Raises `ConfigError` for one that no lab can have."""
    if not is_lab_name(name):
        rule = "must be 1 to 15 lower-case letters and digits, and begin with a letter"
        raise ArgumentError("--name", name, rule)
    return name


def is_lab_name(name: str) -> bool:
    """Tell whether a lab can be called *name*."""
    return _LAB.fullmatch(name) is not None


def check_pod_name(name: str) -> str:
    """Return *name*. Raises `ConfigError` for one that no pod can have."""
    if rule := rule_against_pod(name):
        raise ArgumentError("--name", name, rule)
    return name


def rule_against_pod(name: str) -> str:
    """Return the rule by which no pod can be called *name*, or ""."""
    if not _POD.fullmatch(name):
        return "must be 1 to 30 lower-case letters, digits and hyphens, and begin with a letter"
    if name in {FABRIC, HUB} or NODE.fullmatch(name):
        return "is kept for the lab's own parts (hub, fabric, n1, n2 ...); choose another one"
    return ""


def node_name(number: int) -> str:
    """Return the name of the lab's node *number*."""
    return f"n{number}"


def node_number(name: str) -> int | None:
    """Return the number of the node called *name*, or None when no node can be called so."""
    found = NODE.fullmatch(name)
    return int(found[1]) if found else None


def namespace_of(lab: str, member: str) -> str:
    """Return the name of the namespace of *member*: a node, a pod, the hub or the fabric."""
    return f"podway-{lab}-{member}"


def netns_path(lab: str, member: str) -> Path:
    """Return where the namespace of *member* is mounted, as ``ip netns`` does."""
    return NETNS_DIR / namespace_of(lab, member)


def parse_namespace(namespace: str) -> tuple[str, str] | None:
    """Return lab and member for the name of a namespace, or None when it is no lab's."""
    found = _NAMESPACE.fullmatch(namespace)
    return (found[1], found[2]) if found else None


def lab_dir(lab: str) -> Path:
    """Return the directory that holds all files of *lab*."""
    return LABS_DIR / lab


def agent_socket(lab: str, node: str) -> Path:
    """Return the socket on which the agent of *node* answers operators."""
    return lab_dir(lab) / node / "run" / AGENT_SOCKET


def hub_socket(lab: str) -> Path:
    """Return the socket on which the hub of *lab* answers administrators."""
    return lab_dir(lab) / HUB / "hub.sock"
