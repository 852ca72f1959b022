"""``podway uninstall``: takes everything of podway's out of this node's kernel, and proves it.

What is podway's can be seen in the kernel itself (protocol numbers, aliases, names), so this needs
neither agent nor state: an empty desired state, compared with what there is. What an agent has
outside of the kernel is found in its directories (`remains`).
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from podway.agent.main import is_running, only_one
from podway.agent.places import DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, own_dir
from podway.cli.agents import add_instance
from podway.cli.arguments import add_json
from podway.cli.output import plural, print_json, style_of
from podway.cli.remains import Remains
from podway.diff.operations import Operation
from podway.diff.tracker import Tracker
from podway.errors import ConfigError, PodwayError
from podway.kernel.forward_chain import ForwardChain
from podway.kernel.logs import configure_logging
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import Kernel
from podway.model.instances import PODWAY, Instance, Marks, instance_of
from podway.model.kernel import KernelObject, Key, Link, NftTable, Veth


class InUse(PodwayError):  # noqa: N818  (a state, not an accident)
    """The node still serves pods; taking its network away would cut them off."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway uninstall``."""
    parser.epilog = (
        "Commands of the backend extension are undone by those that the network has for it. "
        "Sysctls (forwarding) and files (/var/lib/podway, the CNI executables) stay. Exit code 1 "
        "when something is left."
    )
    parser.add_argument("--verify", action="store_true", help="only look, and list what is left")
    parser.add_argument("--pods", action="store_true", help="go on although pods are attached")
    add_instance(parser, "what the agent that was started with this --instance has made")
    for option, default, text in (
        ("--run-dir", DEFAULT_RUN_DIR, "where the agent had its sockets"),
        ("--state-dir", DEFAULT_STATE_DIR, "where the agent has its state"),
    ):
        parser.add_argument(
            option, type=Path, metavar="DIR", help=f"{text} (default: {default}, or the instance's)"
        )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Remove (or list) what is podway's; 1 when something is left."""
    configure_logging("error", "text", sys.stderr)  # what fails is in the answer
    names = instance_of(args.instance)
    run_dir = args.run_dir or own_dir(DEFAULT_RUN_DIR, args.instance)
    state_dir = args.state_dir or own_dir(DEFAULT_STATE_DIR, args.instance)
    with closing(NodeKernel(run_dir=run_dir, marks=names.marks)) as kernel:
        node = _Node(kernel, ForwardChain(names.marks), Remains(run_dir, state_dir), names.marks)
        if args.verify:
            removed, left = [], _verify(node, names)
        else:
            _refuse_in_use(leftovers(kernel, names.marks), pods=args.pods)
            with _no_agent(names):
                found = node.find()
                node.clear()
                left = node.find()
            removed = [each for each in found if each not in left]
    _print(removed, left, as_json=args.json)
    return 1 if left else 0


class _Node:
    """All that is podway's on this node: in the kernel, in FORWARD, and outside of both."""

    def __init__(
        self, kernel: Kernel, forward: ForwardChain, remains: Remains, marks: Marks
    ) -> None:
        self._kernel = kernel
        self._forward = forward
        self._remains = remains
        self._marks = marks
        self._errors: dict[Key, str] = {}

    def find(self, *, ended: bool = True) -> dict[str, str]:
        """Return what there is, in words, and why `clear` could not remove it ("" if untried).

        What commands have done only the agent knows until it has *ended*.
        """
        plan = leftovers(self._kernel, self._marks)
        kept = {str(op.key): self._errors.get(op.key, "") for op in plan}
        return kept | dict.fromkeys(self._forward.find(), "") | self._remains.find(ended=ended)

    def clear(self) -> None:
        """Remove it: commands are undone while the devices are there that they may speak of."""
        self._remains.undo_programs()
        plan = leftovers(self._kernel, self._marks)
        for operation, error in zip(plan, self._kernel.apply(plan), strict=True):
            if error is not None:
                self._errors[operation.key] = str(error)
        self._forward.remove()
        self._remains.remove_files()


def _verify(node: _Node, names: Instance) -> dict[str, str]:
    """Return what is left, and that an agent runs, which holds on to its part of it."""
    if is_running(names):
        return {"agent": "it runs"} | node.find(ended=False)
    return node.find()


def leftovers(kernel: Kernel, marks: Marks = PODWAY) -> list[Operation]:
    """Return the operations that take away everything of podway's in *kernel*, in a safe order."""
    tracker = Tracker(marks)
    tracker.sweeping = True
    tracker.observe_all(kernel.read([NftTable("inet", marks.table, "").key]))
    return tracker.plan()


@contextmanager
def _no_agent(names: Instance) -> Iterator[None]:
    """Hold what an agent of this network namespace needs. Raises `InUse` where one runs."""
    with ExitStack() as stack:
        try:
            stack.enter_context(only_one(names))
        except ConfigError as error:
            rule = "the agent runs and would put everything back: stop it first"
            raise InUse(rule) from error
        yield


def _refuse_in_use(plan: Sequence[Operation], *, pods: bool) -> None:
    attached = [op for op in plan if _is_pod(op.observed)]
    if attached and not pods:
        whose = "its" if len(attached) == 1 else "their"
        raise InUse(
            f"{plural(len(attached), 'pod')} would lose {whose} network: drain the node first, or "
            "say --pods"
        )


def _is_pod(item: KernelObject | None) -> bool:
    return isinstance(item, Link) and isinstance(item.kind, Veth)


def _print(removed: Sequence[str], left: Mapping[str, str], *, as_json: bool) -> None:
    kept = [f"{name}: {reason}" if reason else name for name, reason in left.items()]
    if as_json:
        print_json({"removed": removed, "left": kept})
        return
    style = style_of(sys.stdout)
    for each in kept:
        print(style.bad(f"left: {each}"))
    if removed:
        print(f"Removed {plural(len(removed), 'object')}.")
    if not kept:
        print("Nothing of podway is in this node's kernel, and nothing of it runs.")
