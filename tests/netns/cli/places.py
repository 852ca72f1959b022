"""What an agent leaves on a node, made by hand, and ``podway uninstall`` run there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from netns.conftest import Netns
from podway.diff.operations import Operation, Verb
from podway.kernel.node import NodeKernel
from podway.model.instances import instance_of
from podway.model.kernel import (
    Address,
    Bridge,
    KernelObject,
    Link,
    NftTable,
    Route,
)

BLUE = instance_of("blue")
OURS: tuple[KernelObject, ...] = (
    Link(name="cni0", kind=Bridge(), alias="podway:bridge"),
    Address("cni0", IPv4Interface("10.244.1.1/24")),
    Route(dst=IPv4Network("10.244.2.0/24"), kind="unreachable", metric=1),
    NftTable("inet", "podway", "chain forward {\n}\n"),
)


@contextmanager
def kernel_of(
    netns: Netns, run_dir: Path = Path("/nonexistent"), instance: str = ""
) -> Iterator[NodeKernel]:
    key = run_dir / "wireguard.key"
    marks = instance_of(instance).marks
    with closing(NodeKernel(netns.fd, run_dir=run_dir, wireguard_key=key, marks=marks)) as kernel:
        yield kernel


def put(kernel: NodeKernel, *objects: KernelObject) -> None:
    operations = [Operation(Verb.CREATE, item.key, item) for item in objects]
    assert kernel.apply(operations) == [None] * len(operations)


class Place:
    """The directories of an agent."""

    def __init__(self, directory: Path) -> None:
        self.run_dir, self.state_dir = directory / "run", directory / "state"

    def uninstall(self, netns: Netns, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-m", "podway.cli", "uninstall"]
        command += [f"--run-dir={self.run_dir}", f"--state-dir={self.state_dir}", *options]
        inside = ["nsenter", f"--net={netns.path}", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False)

    def answer(self, netns: Netns, *options: str) -> tuple[int, dict[str, list[str]]]:
        done = self.uninstall(netns, "--json", *options)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)
