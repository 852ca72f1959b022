"""One node without a lab: a namespace with an uplink, a hub and an agent in it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.namespaces import inside, namespace, process, run
from podway.agent.calls import AgentAway, call_agent

PYTHON = sys.executable
READY_S = 20.0


class Node:
    """A namespace with an uplink, a hub in it, and directories for an agent."""

    def __init__(self, netns: str, directory: Path) -> None:
        self.netns = netns
        self.directory = directory

    @property
    def store(self) -> str:
        """URL of the hub."""
        return f"unix:{self.directory}/hub.sock"

    @property
    def agent_socket(self) -> Path:
        """Where operators ask the agent."""
        return self.directory / "run" / "agent.sock"

    def agent_command(self, *more: str) -> list[str]:
        """Return the command line of this node's agent."""
        options = {
            "--node": "n1",
            "--store": self.store,
            "--uplink": "eth0",
            "--public-ip": "192.0.2.1",
            "--state-dir": str(self.directory / "state"),
            "--run-dir": str(self.directory / "run"),
        }
        pairs = [f"{name}={value}" for name, value in options.items()]
        return [PYTHON, "-P", "-m", "podway.cli", "agent", *pairs, *more]

    @contextmanager
    def agent(self, *more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the agent inside the namespace."""
        with process(self.agent_command(*more), netns=self.netns) as running:
            yield running


@contextmanager
def node(net_conf: dict[str, object]) -> Iterator[Node]:
    """Make a node whose hub serves *net_conf*; end everything afterwards."""
    with TemporaryDirectory(prefix="podway-bench") as directory, namespace() as netns:
        inside(netns, make_uplink)
        made = Node(netns, Path(directory))
        config = Path(directory) / "net-conf.json"
        config.write_text(json.dumps(net_conf))
        hub = [PYTHON, "-P", "-m", "podway.cli", "hub", f"--listen={made.store}"]
        hub += [f"--data-dir={directory}/hub", f"--net-conf={config}"]
        with process(hub, netns=netns):
            wait_for_socket(Path(directory) / "hub.sock")
            yield made


def make_uplink() -> None:
    """Make eth0 with an address, where the caller is."""
    run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0"])
    run(["ip", "addr", "add", "192.0.2.1/24", "dev", "eth0"])
    run(["ip", "link", "set", "eth0", "up"])
    run(["ip", "link", "set", "far0", "up"])


def wait_for_socket(path: Path) -> float:
    """Wait until somebody listens at *path*; return the seconds that it took."""
    started = time.perf_counter()
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                if time.perf_counter() - started > READY_S:
                    raise
                time.sleep(0.002)
            else:
                return time.perf_counter() - started


def wait_until_ready(here: Node) -> None:
    """Wait until the agent on *here* says that it is ready."""
    deadline = time.perf_counter() + READY_S
    while True:
        try:
            reasons = call_agent(here.agent_socket, "status")["ready_reasons"]
        except AgentAway as error:
            reasons = [str(error)]
        if not reasons:
            return
        if time.perf_counter() > deadline:
            raise RuntimeError(f"the agent is not ready: {reasons}")
        time.sleep(0.01)


def resident_kib(pid: int) -> int:
    """Return the resident memory of process *pid*."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


def cpu_seconds(pid: int) -> float:
    """Return the processor time that process *pid* has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
