"""Nodes over the real kernel: ``podway agent`` as a process in a namespace, and the CNI executable.

A node is a namespace with an uplink ``eth0``; a second one, the underlay, holds the other end. The
hub is a process too. Everything is ended by its process id and deleted, whatever the test does.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agent.nodes import Answer
from hub.hub_process import HubProcess
from netns.conftest import Netns, new_netns
from podway.agent.calls import AgentAway, AgentError, call_agent
from podway.cni.errors import TRY_AGAIN_LATER
from podway.cni.frames import MAX_RESPONSE_BYTES, FrameBuffer, decode_response, encode_request
from podway.plugins.install import install

PATIENCE_S = 20.0
AWAY_S = 2.0
# A dual-stack network, and the device of its tunnel.
DUAL: dict[str, Any] = {
    "Network": "10.9.0.0/16",
    "EnableIPv6": True,
    "IPv6Network": "fd00:9::/48",
    "Backend": {"Type": "vxlan"},
}
VTEP = "podway.1"
# Where an agent that was started with ``--http`` serves, inside of its node.
HTTP = "127.0.0.1:9099"
_GET = """
import sys, urllib.request, urllib.error
try: answer = urllib.request.urlopen(sys.argv[1])
except urllib.error.HTTPError as error: answer = error
print(answer.status); print(answer.read().decode())
"""


class RealNode:
    """A node, its agent's process and its runtime.

    Attributes:
        netns: the node's namespace.
        directory: state, sockets, log and the CNI executable.
    """

    def __init__(self, name: str, netns: Netns, directory: Path, store_url: str) -> None:
        self.name = name
        self.netns = netns
        self.directory = directory
        self._store_url = store_url
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "bin").mkdir()
        install(directory / "bin")

    # --- the agent ------------------------------------------------------------------------------

    def start(self, *arguments: str, **variables: str) -> None:
        """Start the agent, with more of the environment in *variables*; it is not waited for."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.netns.name),
                    *(sys.executable, "-m", "podway.cli", "agent", "--node", self.name),
                    *("--store", self._store_url, "--state-dir", str(self.directory / "state")),
                    *("--run-dir", str(self.directory), "--uplink", "eth0", "--cooldown", "0.001"),
                    *arguments,
                ],
                env={**os.environ, **variables},
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> int:
        """Send it a signal, wait for its end, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=PATIENCE_S)

    def end(self) -> None:
        """End it if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def is_dead(self) -> bool:
        """Tell whether it has ended without being told to."""
        assert self._process is not None
        return self._process.poll() is not None

    @property
    def log(self) -> str:
        """All that it has logged."""
        return (self.directory / "log").read_text()

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Make an operator's call."""
        return call_agent(self.directory / "agent.sock", name, arguments)

    def status(self) -> dict[str, Any]:
        """Return its status, {} while it is away."""
        try:
            return self.call("status")
        except AgentAway:
            return {}

    def http(self, path: str) -> tuple[int, str]:
        """Ask its HTTP end point, started with ``--http HTTP``, from inside the node."""
        said = self.netns.exec(sys.executable, "-c", _GET, f"http://{HTTP}{path}")
        status, _, body = said.partition("\n")
        return int(status), body

    def ready(self) -> None:
        """Wait until it is ready."""
        wait_until(lambda: self.status().get("ready"), lambda: (self.status(), self.log))

    def calm(self) -> None:
        """Wait until it has nothing left to do."""

        def is_calm() -> bool:
            try:
                return not self.call("diff")["operations"]
            except (AgentAway, AgentError):
                return False

        wait_until(is_calm, lambda: (self.call("diff"), self.log))

    # --- the runtime ----------------------------------------------------------------------------

    def cni(
        self, command: str, container: str = "", pod: Netns | None = None, /, **config: Any
    ) -> Answer:
        """Run the CNI executable, as a runtime does."""
        environment, document = self._request(command, container, pod, config)
        done = subprocess.run(
            [self.directory / "bin" / "podway"],
            input=document.encode(),
            env=environment,
            capture_output=True,
            check=False,
        )
        return Answer(done.returncode, json.loads(done.stdout) if done.stdout else {})

    def ask(self, command: str, container: str, pod: Netns, /, **config: Any) -> Answer:
        """Make the same call over the agent's socket, as soon as there is one that answers.

        An agent that is away, or ends in the middle, is an error 11 as it is for the executable.
        """
        frame = encode_request(*self._request(command, container, pod, config))
        try:
            return _exchange(self.directory / "cni.sock", frame, pod.fd)
        except OSError as error:
            return Answer(1, {"code": TRY_AGAIN_LATER, "msg": repr(error)})

    def _request(
        self, command: str, container: str, pod: Netns | None, config: dict[str, Any]
    ) -> tuple[dict[str, str], str]:
        document = {
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "podway",
            "agentSocket": str(self.directory / "cni.sock"),
            **config,
        }
        environment = {"CNI_COMMAND": command, "CNI_PATH": str(self.directory / "bin")}
        if container:
            environment |= {"CNI_CONTAINERID": container, "CNI_IFNAME": "eth0"}
            environment |= {"CNI_NETNS": pod.path} if pod is not None else {}
        return environment, json.dumps(document)

    # --- the kernel -----------------------------------------------------------------------------

    def ip(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what `ip -j -d ...` says in the node."""
        text = self.netns.ip("-j", "-d", *arguments)
        return [item for item in json.loads(text or "[]") if item]

    def pod_links(self) -> list[str]:
        """Return the names of the pods' host ends."""
        return [item["ifname"] for item in self.ip("link") if item["ifname"].startswith("pw")]

    def fdb(self, dev: str = VTEP) -> list[dict[str, Any]]:
        """Return the entries of tunnel *dev* for peers, as ``bridge -j fdb`` says them."""
        argv = ["bridge", "-n", self.netns.name, "-j", "fdb", "show", "dev", dev]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        listed: list[dict[str, Any]] = json.loads(text)
        return [item for item in listed if "dst" in item]

    def our_routes(self) -> dict[str, str]:
        """Return prefix to next hop (or device) of our routes, in both families."""
        listed = [
            *self.ip("route", "show", "proto", "112"),
            *self.ip("-6", "route", "show", "proto", "112"),
        ]
        return {item["dst"]: item.get("gateway", item.get("dev", "")) for item in listed}


@contextmanager
def real_cluster(
    net_conf: dict[str, Any], names: str = "a"
) -> Iterator[tuple[HubProcess, list[RealNode]]]:
    """Yield a hub and a node, not yet started, for each letter of *names*; one underlay for all."""
    with ExitStack() as undo:
        hub = undo.enter_context(HubProcess(net_conf=net_conf))
        underlay = undo.enter_context(new_netns())
        underlay.ip("link", "add", "br0", "up", "type", "bridge")
        nodes = []
        for number, name in enumerate(names, 1):
            netns = undo.enter_context(new_netns())
            netns.ip(
                "link", "add", "eth0", "type", "veth", "peer", f"u{name}", "netns", underlay.name
            )
            underlay.ip("link", "set", f"u{name}", "up", "master", "br0")
            netns.ip("address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            netns.ip("address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
            netns.ip("link", "set", "eth0", "up")
            directory = Path(tempfile.mkdtemp(prefix="podway-node-"))
            undo.callback(shutil.rmtree, directory)
            node = RealNode(name, netns, directory, hub.url)
            undo.callback(node.end)
            nodes.append(node)
        yield hub, nodes


@contextmanager
def pods(count: int) -> Iterator[list[Netns]]:
    """Yield *count* namespaces for pods."""
    with ExitStack() as undo:
        yield [undo.enter_context(new_netns()) for _ in range(count)]


def _exchange(path: Path, frame: bytes, descriptor: int) -> Answer:
    deadline = time.monotonic() + AWAY_S
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(PATIENCE_S)
            try:
                link.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.003)
                continue
            socket.send_fds(link, [frame], [descriptor])
            buffer = FrameBuffer(MAX_RESPONSE_BYTES)
            while (payload := buffer.feed(link.recv(buffer.wanted_bytes) or _cut_off())) is None:
                pass
        exit_code, text = decode_response(payload)
        return Answer(exit_code, json.loads(text) if text else {})


def _cut_off() -> bytes:
    raise ConnectionResetError("the agent closed the connection")


def wait_until(
    condition: Callable[[], object], describe: Callable[[], object] = lambda: ""
) -> None:
    """Wait until *condition* holds; after `PATIENCE_S` the test fails and says what there is."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(describe())
        time.sleep(0.005)
