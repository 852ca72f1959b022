"""Which agent of this machine a command asks, and the call made to it.

``--instance NAME`` names it as ``podway agent --instance NAME`` does (PODWAY_INSTANCE, too), and
its socket follows from that (`podway.agent.places`); ``--socket`` names one that lies elsewhere
(so does PODWAY_SOCKET, where no instance is named).
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podway.agent.calls import NobodyListens, call_agent
from podway.agent.places import agent_socket_of, running_instances

INSTANCE_VARIABLE = "PODWAY_INSTANCE"
SOCKET_VARIABLE = "PODWAY_SOCKET"
# The name of a shell function that lists instances; `podway.cli.completion` defines it.
COMPLETE_INSTANCES = "_podway_instances"


def add_agent(parser: argparse.ArgumentParser) -> None:
    """Add ``--instance`` and ``--socket``, the agent to ask."""
    add_instance(parser, "ask the agent that was started with this --instance")
    add_socket(parser)


def add_socket(parser: argparse.ArgumentParser) -> None:
    """Add ``--socket``."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        help=f"socket of the agent to ask (default: the instance's, else ${SOCKET_VARIABLE}, else "
        f"{agent_socket_of('')})",
    )


def add_instance(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--instance`` with *text* as its help."""
    action = parser.add_argument(
        "--instance",
        type=_instance,
        default=os.environ.get(INSTANCE_VARIABLE, ""),
        metavar="NAME",
        help=f"{text} (default: ${INSTANCE_VARIABLE}, else the one without a name)",
    )
    # Read by shtab, which knows only such an attribute for it.
    action.complete = {  # type: ignore[attr-defined]
        "bash": COMPLETE_INSTANCES,
        "zsh": COMPLETE_INSTANCES,
        "fish": f"({COMPLETE_INSTANCES})",
    }


def _instance(text: str) -> str:
    """Return *text* if an instance may have this name."""
    if not text:
        return ""
    from podway.agent.options import instance_name  # noqa: PLC0415  (not for a help text)

    return instance_name(text)


def socket_of(args: argparse.Namespace) -> Path:
    """Return the socket of the agent that *args* name, or else the environment."""
    named = args.socket or (not args.instance and os.environ.get(SOCKET_VARIABLE))
    return Path(named) if named else agent_socket_of(args.instance)


def ask_agent(
    args: argparse.Namespace,
    call: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = 5.0,
) -> dict[str, Any]:
    """Return the result of *call* from the agent that *args* name.

    Raises:
        AgentAway: it does not run, and the text names those that do; or it does not answer.
        AgentError: it refused.
    """
    socket = socket_of(args)
    try:
        return call_agent(socket, call, arguments, timeout_s=timeout_s)
    except NobodyListens as error:
        others = [] if args.socket else running_instances()
        if not others:
            raise
        raise NobodyListens(describe_absent(args.instance, socket, others)) from error


def describe_absent(instance: str, socket: Path, running: Sequence[str]) -> str:
    """Return that the agent of *instance* does not run, and which others do. Pure."""
    who = f"no agent with --instance {instance}" if instance else "no agent without --instance"
    named = (f"--instance {name}" if name else "one without --instance" for name in running)
    return f"{who} listens on {socket}; running here: {', '.join(named)}"
