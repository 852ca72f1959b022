"""The installed executable, an agent that misbehaves as told, and a pod's namespace."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.conftest import Netns
from netns.plugins.podway.agent import Agent
from netns.plugins.podway.calls import Call
from podway.plugins.install import install


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
def pod_netns(pod: Netns) -> Path:
    """Return the path of a fresh network namespace."""
    return Path(pod.path)


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
