"""Networks of CNI plugins, called as a runtime calls them: podway's executables and Debian's.

What is timed is the executables from start to end; the JSON between them is the runtime's.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from podway.plugins.install import install
from podway.plugins.programs import run_program

Document: TypeAlias = dict[str, Any]

ORIGINALS: Final = Path("/usr/lib/cni")


@dataclass(frozen=True)
class List:
    """A network: plugins that are called one after the other.

    Attributes:
        name: of the network.
        directory: of the executables.
        plugins: configurations without name and version.
        ifname: of the containers' interface.
    """

    name: str
    directory: Path
    plugins: tuple[Document, ...]
    ifname: str
    results: dict[str, Document | None] = field(default_factory=dict)

    def add(self, pod: str) -> float:
        """Call ADD of each plugin for the pod in namespace *pod*; return the seconds."""
        result: Document | None = None
        seconds = 0.0
        for plugin in self.plugins:
            took, stdout = self._call("ADD", plugin, pod, result)
            seconds += took
            result = json.loads(stdout)
        self.results[pod] = result
        return seconds

    def delete(self, pod: str) -> float:
        """Call DEL of each plugin, last first; return the seconds."""
        result = self.results.pop(pod)
        return sum(self._call("DEL", each, pod, result)[0] for each in reversed(self.plugins))

    def call(self, command: str, pod: str) -> float:
        """Call *command*; return the seconds."""
        return self.add(pod) if command == "ADD" else self.delete(pod)

    def call_last(self, command: str, pod: str) -> float:
        """Call the last plugin alone, after what others have made; return the seconds."""
        return self._call(command, self.plugins[-1], pod, self.results[pod])[0]

    def _call(
        self, command: str, plugin: Document, pod: str, result: Document | None
    ) -> tuple[float, bytes]:
        config = {"cniVersion": "1.0.0", "name": self.name, **plugin}
        if result is not None:
            config["prevResult"] = result
        if "runtimeConfig" in config:
            config["runtimeConfig"] = _runtime_config(pod)
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"{self.name}-{pod}",
            "CNI_NETNS": f"/run/netns/{pod}",
            "CNI_IFNAME": self.ifname,
            "CNI_PATH": str(self.directory),
        }
        argv = [str(self.directory / plugin["type"])]
        stdin = json.dumps(config).encode()
        started = time.perf_counter()
        outcome = run_program(argv, stdin, variables)
        seconds = time.perf_counter() - started
        if outcome.code:
            raise RuntimeError(f"{argv[0]} {command}: {outcome.stdout!r} {outcome.complaint}")
        return seconds, outcome.stdout


def _runtime_config(pod: str) -> Document:
    """Return a port and rates for a pod; the last digits of its name make the port its own."""
    port = 10_000 + int(pod.rpartition("-")[2], 16) % 50_000
    rates = {"ingressRate": 10**8, "ingressBurst": 10**7}
    rates |= {"egressRate": 10**8, "egressBurst": 10**7}
    mapping = {"hostPort": port, "containerPort": 80, "protocol": "tcp"}
    return {"portMappings": [mapping], "bandwidth": rates}


class Bench:
    """Podway's and Debian's executables, and networks made of them.

    Args:
        directory: the benchmark's own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._networks = 0
        self.executables = directory / "cni"
        self.executables.mkdir()
        install(self.executables)

    def bridge(self, directory: Path, *chained: str, **keys: object) -> List:
        """Return a network of a bridge with masquerade, and *chained* plugins."""
        self._networks += 1
        n = self._networks
        ipam = {
            "type": "host-local",
            "dataDir": str(self._directory / "networks"),
            "ranges": [[{"subnet": f"10.{n}.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        told = {"bridge": f"br{n}", "isGateway": True, "ipMasq": True, "ipam": ipam, **keys}
        plugins: list[Document] = [{"type": "bridge", **told}]
        plugins += ({"type": name, "runtimeConfig": {}} for name in chained)
        return List(f"net{n}", directory, tuple(plugins), f"eth{n}")

    def pair(self, *chained: str, **keys: object) -> tuple[List, List]:
        """Return the same network twice: podway's, and Debian's (without *keys*)."""
        ours = self.bridge(self.executables, *chained, **keys)
        return ours, self.bridge(ORIGINALS, *chained)

    def alone(self, plugin: Document) -> tuple[List, List]:
        """Return a network of one plugin twice."""
        self._networks += 1
        name = f"net{self._networks}"
        ours = List(name, self.executables, (plugin,), "lo")
        return ours, List(f"{name}d", ORIGINALS, (plugin,), "lo")
