"""``podway lab exec``: this process becomes a program in the network of a pod or node.

In: who, and which program. Out: the program's own exit code, or those of a shell for one that
cannot be started. On a node podway's commands ask that node: its agent's socket and its store are
in the environment.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from podway.cli.agents import SOCKET_VARIABLE
from podway.errors import ArgumentError
from podway.lab.members import namespace_of_member
from podway.lab.names import HUB, agent_socket, node_number
from podway.lab.namespaces import become
from podway.lab.processes import without_options
from podway.lab.specs import LabSpec
from podway.lab.state import read_spec
from podway.lab.stores import store_url

# As of a shell (POSIX, 2.8.2).
NOT_FOUND = 127
NOT_EXECUTABLE = 126


def execute(args: argparse.Namespace) -> int:
    """Become the command, in the member's namespace."""
    command = strip_separator(args.words)
    if not command:
        raise ArgumentError("COMMAND", "", "is missing: podway lab exec p1 -- ip addr")
    spec = read_spec(args.lab)
    namespace = namespace_of_member(spec, args.member)
    environment = environment_of(spec, args.member, os.environ)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.flush()
    try:
        become(namespace, command)
    except OSError as error:
        print(f"podway: {command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    raise AssertionError("exec has returned")


def strip_separator(words: Sequence[str]) -> list[str]:
    """Return *words* without the ``--`` that stands before a command."""
    return list(words[1:] if words[:1] == ["--"] else words)


def environment_of(spec: LabSpec, member: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program on *member*, started from *environment*.

    What that says of this machine's own agent is not passed on: a command on a node would ask that
    one. This podway is in its PATH, behind all others, as it may be in a directory of its own, and
    ``podway lab`` means this lab in there, too.
    """
    path = [environment.get("PATH") or os.defpath, str(Path(sys.executable).parent)]
    given = without_options(environment)
    given |= {"PATH": os.pathsep.join(path), "PODWAY_LAB": spec.name}
    is_node = node_number(member) is not None
    if is_node:
        given[SOCKET_VARIABLE] = str(agent_socket(spec.name, member))
    if is_node or member == HUB:
        given |= {"PODWAY_STORE": store_url(spec), "PODWAY_PLAINTEXT": "1"}
    return given
