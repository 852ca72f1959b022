"""What systemd hears of an agent that becomes ready when no pass is made."""

import asyncio
import socket
from pathlib import Path

import pytest

from agent.nodes import run, running, running_node
from agent.staged_store import StagedStore, snapshot
from podway.agent import agent as agent_module
from podway.agent import main as main_module
from podway.kernel.systemd import NOTIFY_SOCKET


def test_ready_is_told_without_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd ends a service that does not say so in time, however ready it is."""
    monkeypatch.setattr(agent_module, "SUBNET_FILE_POLL_S", 0.01)
    monkeypatch.setattr(main_module, "UNREADY_LOOK_S", 0.01)
    monkeypatch.setenv(NOTIFY_SOCKET, str(tmp_path / "notify"))
    in_the_way = tmp_path / "run"
    in_the_way.touch()

    async def scenario(systemd: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        async def hear_until(word: str) -> None:
            while word not in (await loop.sock_recv(systemd, 4096)).decode():
                pass

        store = StagedStore()
        store.say(snapshot())
        path = in_the_way / "subnet.env"
        async with (
            running_node(tmp_path, store, subnet_file=path) as node,
            running(main_module._tell_systemd(node.agent)),
        ):
            await hear_until("cannot be written")
            in_the_way.unlink()
            await hear_until("READY=1")
            assert path.exists()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(0)
        run(lambda: scenario(systemd))


def test_without_systemd_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NOTIFY_SOCKET, raising=False)

    async def scenario() -> None:
        async with running_node(tmp_path, StagedStore()) as node:
            await main_module._tell_systemd(node.agent)

    run(scenario)
