"""``podway uninstall``: takes everything of podway's out of this node's kernel, and proves it.

What is podway's can be seen in the kernel itself (protocol numbers, aliases, the table's name), so
this needs neither agent nor state: an empty desired state, compared with what there is.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from podway.agent.calls import AgentAway, AgentError, call_agent
from podway.cli.agents import add_instance, add_socket, socket_of
from podway.cli.arguments import add_json
from podway.cli.output import plural, print_json, style_of
from podway.diff.operations import Operation
from podway.diff.tracker import Tracker
from podway.errors import PodwayError
from podway.kernel.forward_chain import ForwardChain
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import Kernel
from podway.model.instances import PODWAY, Marks, instance_of
from podway.model.kernel import KernelObject, Link, NftTable, Veth


class InUse(PodwayError):  # noqa: N818  (a state, not an accident)
    """The node still serves pods; taking its network away would cut them off."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway uninstall``."""
    parser.epilog = (
        "Sysctls (forwarding) and files (/var/lib/podway, the CNI executables) stay. Exit code 1 "
        "when something is left."
    )
    parser.add_argument("--verify", action="store_true", help="only look, and list what is left")
    parser.add_argument("--pods", action="store_true", help="go on although pods are attached")
    add_instance(parser, "what the agent that was started with this --instance has made")
    add_socket(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Remove (or list) what is podway's; 1 when something is left."""
    marks = instance_of(args.instance).marks
    kernel, forward = NodeKernel(marks=marks), ForwardChain(marks)
    try:
        plan, chains = leftovers(kernel, marks), forward.find()
        if not args.verify:
            _refuse_in_use(socket_of(args), plan, pods=args.pods)
            kernel.apply(plan)
            forward.remove()
            removed = _names(plan, chains)
            plan, chains = leftovers(kernel, marks), forward.find()
        else:
            removed = []
    finally:
        kernel.close()
    left = _names(plan, chains)
    _print(removed, left, as_json=args.json)
    return 1 if left else 0


def leftovers(kernel: Kernel, marks: Marks = PODWAY) -> list[Operation]:
    """Return the operations that take away everything of podway's in *kernel*, in a safe order."""
    tracker = Tracker(marks)
    tracker.sweeping = True
    tracker.observe_all(kernel.read([NftTable("inet", marks.table, "").key]))
    return tracker.plan()


def _refuse_in_use(socket: Path, plan: Sequence[Operation], *, pods: bool) -> None:
    if _agent_runs(socket):
        raise InUse("the agent runs and would put everything back: stop it first")
    attached = [op for op in plan if _is_pod(op.observed)]
    if attached and not pods:
        raise InUse(
            f"{plural(len(attached), 'pod')} would lose their network: drain the node first, or "
            "say --pods"
        )


def _is_pod(item: KernelObject | None) -> bool:
    return isinstance(item, Link) and isinstance(item.kind, Veth)


def _agent_runs(socket: Path) -> bool:
    try:
        call_agent(socket, "status", timeout_s=2.0)
    except AgentAway:
        return False
    except AgentError:
        return True
    return True


def _names(plan: Sequence[Operation], chains: Sequence[str]) -> list[str]:
    return [*(str(op.key) for op in plan), *chains]


def _print(removed: Sequence[str], left: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"removed": removed, "left": left})
        return
    style = style_of(sys.stdout)
    for name in left:
        print(style.bad(f"left: {name}"))
    if removed:
        print(f"Removed {plural(len(removed), 'object')} from the kernel.")
    if not left:
        print("Nothing of podway is in this node's kernel.")
