"""The installed executable, an agent that misbehaves as told, and a pod's namespace."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from netns.conftest import MakeNetns, Netns, new_netns
from netns.plugins.cases import CASES, Caller, prepare, state
from netns.plugins.cni_runtime import Document, Runtime
from netns.plugins.fork_server import ForkServer
from podway.cni.frames import MAX_REQUEST_BYTES, FrameBuffer, encode_response
from podway.plugins.install import install

Behaviour = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Seen:
    """One request that the agent got: its payload, and the inodes of its descriptors."""

    payload: bytes
    inodes: tuple[int, ...]


def receive(client: socket.socket) -> Seen:
    """Return the request on *client*."""
    buffer, descriptors = FrameBuffer(MAX_REQUEST_BYTES), []
    payload = None
    while payload is None:
        data, received, _, _ = socket.recv_fds(client, buffer.wanted_bytes, 8)
        descriptors += received
        assert data, "the plugin closed in the middle of its request"
        payload = buffer.feed(data)
    inodes = tuple(os.fstat(descriptor).st_ino for descriptor in descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return Seen(payload, inodes)


@dataclass
class Agent:
    """A Unix server in a thread; each connection is handed to the behaviour of the moment."""

    path: Path
    seen: list[Seen] = field(default_factory=list)
    behaviour: Behaviour | None = None

    def answer(self, client: socket.socket) -> None:
        """Record the request, and say that all is well."""
        self.seen.append(receive(client))
        client.sendall(encode_response(0, '{"cniVersion":"1.1.0"}'))

    def serve(self, listener: socket.socket) -> None:
        """Serve until the listener is shut down."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    (self.behaviour or self.answer)(client)


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """Return a directory whose name is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="pw-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def agent(run_directory: Path) -> Iterator[Agent]:
    """Return an agent that listens."""
    agent = Agent(run_directory / "cni.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(agent.path))
        listener.listen(64)
        thread = threading.Thread(target=agent.serve, args=(listener,))
        thread.start()
        try:
            yield agent
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def pod_netns() -> Iterator[Path]:
    """Return the path of a fresh network namespace."""
    name = f"pw-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield Path("/run/netns", name)
    subprocess.run(["ip", "netns", "delete", name], check=True)


class Call(Protocol):
    """What the fixture `call` gives."""

    def __call__(
        self,
        command: str | None,
        *,
        config: dict[str, object] | bytes | None = None,
        variables: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the plugin; *config* changes keys of the usual one, or replaces it as bytes."""


@pytest.fixture
def plugin(run_directory: Path) -> Path:
    """Return the installed executable."""
    install(run_directory)
    return run_directory / "podway"


@pytest.fixture
def call(plugin: Path, run_directory: Path) -> Call:
    """Run the plugin as a runtime does."""
    usual = {
        "cniVersion": "1.1.0",
        "name": "podway",
        "type": "podway",
        "agentSocket": str(run_directory / "cni.sock"),
        "cni.dev/valid-attachments": [],
    }

    def run(
        command: str | None,
        *,
        config: dict[str, object] | bytes | None = None,
        variables: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        changed = config if isinstance(config, dict) else {}
        stdin = config if isinstance(config, bytes) else json.dumps({**usual, **changed}).encode()
        environment = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
        if command is not None:
            environment["CNI_COMMAND"] = command
        environment |= variables or {}
        return subprocess.run(
            [plugin], input=stdin, env=environment, capture_output=True, check=False, timeout=60
        )

    return run


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with all executables."""
    directory = tmp_path_factory.mktemp("cni")
    install(directory)
    return directory


@pytest.fixture
def runtime(make_netns: MakeNetns, executables: Path, tmp_path: Path) -> Runtime:
    """Return a runtime whose plugins run in a namespace of the test's own."""
    return Runtime(make_netns(), executables, tmp_path)


@pytest.fixture
def pod(make_netns: MakeNetns) -> Netns:
    """Return a container's namespace."""
    return make_netns()


@pytest.fixture
def legacy_path(tmp_path: Path) -> Document:
    """Return variables of a system whose iptables is legacy; the kernel knows both kinds."""
    directory = tmp_path / "legacy"
    directory.mkdir()
    for program in ("iptables", "ip6tables"):
        for tool in ("restore", "save"):
            (directory / f"{program}-{tool}").symlink_to(f"/usr/sbin/{program}-legacy-{tool}")
    return {"PATH": f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture(scope="module")
def caller(
    request: pytest.FixtureRequest, executables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caller]:
    """Return what calls the plugin that is the test's parameter; one for all of its tests."""
    with new_netns() as host, new_netns() as pod, ForkServer(host.path) as server:
        runtime = Runtime(host, executables, tmp_path_factory.mktemp("data"))
        prepare(runtime)
        yield Caller(server, runtime, pod, CASES[request.param].make(runtime))


@pytest.fixture(scope="module")
def before(caller: Caller) -> Document:
    """Return the state after all has been added and deleted once: what stays for ever is there."""
    if not CASES[caller.config["type"]].asks_daemon:
        caller.delete(caller.add())
        caller.collect()
    return state(caller)
