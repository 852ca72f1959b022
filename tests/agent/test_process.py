"""The agent's process: how it ends, what systemd hears, what cannot be started, what HTTP tells."""

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.real_nodes import DUAL, HTTP, PATIENCE_S, RealNode, pods, real_cluster, wait_until
from netns.conftest import Netns
from podway.cni.errors import TRY_AGAIN_LATER, UNAVAILABLE

pytestmark = pytest.mark.root


def test_an_agent_that_is_told_to_end_ends_in_order(node: RealNode) -> None:
    with pods(8) as made, ThreadPoolExecutor(8) as pool:
        names = [f"c{number}" for number in range(8)]
        adding = [pool.submit(node.cni, "ADD", *each) for each in zip(names, made, strict=True)]
        time.sleep(0.02)
        assert node.signal(signal.SIGTERM) == 0, node.log
        assert "Traceback" not in node.log
        assert not list(node.directory.glob("*.sock"))
        node.start()
        answers = [future.result() for future in adding]
        assert {answer.code for answer in answers} <= {0, TRY_AGAIN_LATER}
        node.ready()
        live = sum(answer.code == 0 for answer in answers)
        assert len(node.pod_links()) == live
        assert set(pool.map(lambda name: node.cni("DEL", name).code, names)) == {0}
        assert (node.pod_links(), node.status()["addresses"]["used"]) == ([], 0)


def test_systemd_is_told(node: RealNode) -> None:
    node.signal(signal.SIGTERM)
    path = node.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(PATIENCE_S)

        def hear_until(word: str) -> list[str]:
            heard: list[str] = []
            while word not in heard:
                heard += listener.recv(4096).decode().splitlines()
            return heard

        node.start(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="1000000")
        hear_until("READY=1")
        assert node.status()["ready"]
        assert "STATUS=ready" in hear_until("WATCHDOG=1") + hear_until("WATCHDOG=1")
        assert node.signal(signal.SIGTERM) == 0
        hear_until("STOPPING=1")


def test_a_second_agent_with_the_same_state_is_refused(node: RealNode) -> None:
    done = _run_agent("--state-dir", str(node.directory / "state"), "--node", "a")
    assert done.returncode == 1
    assert "in use by another podway agent" in done.stderr
    assert "Traceback" not in done.stderr
    assert node.status()["ready"]


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        pytest.param(2, ("--tls-ca", "/ca"), "go together", id="half of TLS"),
        pytest.param(2, ("--store", "http://x"), "store", id="no such store"),
        pytest.param(2, ("--store", "tcp:hub:4000"), "--tls-ca", id="TCP without TLS"),
        pytest.param(2, ("--http", "nowhere"), "ADDRESS:PORT", id="no address"),
        pytest.param(
            1, ("--run-dir", "/tmp/" + "x" * 120), "--run-dir", id="too long for a socket"
        ),
        pytest.param(1, ("--state-dir", "/proc/x"), "cannot open", id="no place for the state"),
    ],
)
def test_what_cannot_be_started_says_why(
    tmp_path: Path, code: int, arguments: tuple[str, ...], says: str
) -> None:
    done = _run_agent(
        *("--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path), "--node", "a"),
        *arguments,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def _run_agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an agent that is expected not to get far, in a namespace of its own."""
    return subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "podway.cli", "agent", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_readiness_follows_the_store_and_metrics_tell(pod: Netns) -> None:
    with real_cluster(DUAL) as (hub, (node,)):
        hub.stop()
        node.start("--http", HTTP, "--store-grace", "0.2")
        wait_until(node.status)
        assert node.http("/readyz")[0] == 503
        assert node.http("/healthz")[0] == 200
        assert node.cni("STATUS").code == UNAVAILABLE
        hub.start()
        node.ready()
        assert node.http("/readyz") == (200, "ready\n\n")
        assert node.cni("ADD", "c1", pod).code == 0

        hub.kill()
        wait_until(lambda: node.http("/readyz")[0] == 503)
        assert "has been away" in node.http("/readyz")[1]
        assert node.cni("DEL", "c1", pod).code == 0
        metrics = node.http("/metrics")[1]
        assert "podway_store_connected 0.0" in metrics
        assert 'podway_cni_duration_seconds_count{command="ADD",result="ok"} 1.0' in metrics
        assert 'podway_operations_total{kind="link",result="ok",verb="create"}' in metrics
        hub.start()
        node.ready()
