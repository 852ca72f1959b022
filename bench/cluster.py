"""A lab for benchmarks, driven by the commands that a user would type."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podway.lab.interrupts import uninterrupted

PODWAY = str(Path(sys.executable).parent / "podway")
_RUN = Path("/run/podway/lab")


class LabRefused(RuntimeError):  # noqa: N818  (an answer, not an accident)
    """There is no such lab on this machine; whatever had been made of it is gone."""


class Cluster:
    """A running lab."""

    def __init__(self, name: str) -> None:
        self.name = name

    def podway(self, *arguments: str) -> Any:
        """Run ``podway lab --name NAME ARGUMENTS --json``; return what it prints."""
        command = [PODWAY, "lab", "--name", self.name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if "--json" in arguments else None

    def node_netns(self, node: str) -> str:
        """Name of the namespace of *node*."""
        return f"podway-{self.name}-{node}"

    def pod_netns(self, pod: str) -> str:
        """Name of the namespace of *pod*."""
        return f"podway-{self.name}-{pod}"

    @property
    def plugin(self) -> str:
        """Path of the installed CNI executable."""
        return str(_RUN / self.name / "cni" / "podway")

    def node_dir(self, node: str) -> Path:
        """Where *node*'s sockets, state and log are."""
        return _RUN / self.name / node

    def agent_pid(self, node: str) -> int:
        """Process id of *node*'s agent."""
        return int(json.loads((self.node_dir(node) / "agent.pid").read_text())["pid"])


@contextmanager
def cluster(*options: str, name: str = "") -> Iterator[Cluster]:
    """Bring a lab up with *options* of ``podway lab up``; take it down whatever happens."""
    made = Cluster(name or f"bench{os.getpid()}")
    try:
        try:
            made.podway("up", *options)
        except RuntimeError as error:
            raise LabRefused(str(error).rpartition("podway: ")[2].strip()) from error
        yield made
    finally:
        with uninterrupted():
            made.podway("down")
