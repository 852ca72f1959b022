"""Real hubs for tests: in the test's own process, or as a process that can be killed.

``running_hub`` serves on a Unix socket (and on plain TCP, on request) from the test's event loop::

    async def scenario() -> None:
        async with running_hub(net_conf={"Network": "10.9.0.0/16"}) as hub:
            store = hub.open_store()
            ...

``HubProcess`` is ``python -m podway.hub``, with a data directory that outlives it::

    with HubProcess(net_conf=...) as hub:
        hub.kill()
        hub.start()

Both clean up after themselves: every process is ended, every file removed.
"""

import asyncio
import contextlib
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from hub.server_process import ServerProcess
from podway.hub.limits import Limits
from podway.hub.main import open_server
from podway.hub.server import HubServer
from podway.hub.settings import HubSettings
from podway.store.address import HubAddress, TcpAddress, UnixAddress
from podway.store.engines import open_hub
from podway.store.hub import HubOptions, HubStore
from podway.store.tls import TlsFiles

HOST_GW: dict[str, Any] = {"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}
# So that a test that lost its hub waits for milliseconds and not for seconds.
QUICK = HubOptions(backoff_min_s=0.01, backoff_max_s=0.1, request_s=20.0)


class RunningHub:
    """A hub in this process.

    Attributes:
        url: of its Unix socket.
        socket_path: of that.
        tcp_url: of its TCP socket, where there is one.
        server: the hub itself, to look inside.
    """

    def __init__(self, url: str, server: HubServer) -> None:
        self.url = url
        self.socket_path = Path(url.removeprefix("unix:"))
        self.server = server
        self.tcp_url = str(server.addresses[-1])

    def open_store(self, options: HubOptions = QUICK) -> HubStore:
        """Return a client; the caller closes it."""
        return open_hub(self.url, options=options)


@contextlib.asynccontextmanager
async def running_hub(
    directory: Path | None = None,
    *,
    net_conf: dict[str, Any] | None = HOST_GW,
    limits: Limits | None = None,
    tcp: bool = False,
    tls: TlsFiles | None = None,
) -> AsyncIterator[RunningHub]:
    """Serve a hub whose data lies in *directory* (by default one that goes with it)."""
    async with contextlib.AsyncExitStack() as undo:
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="podway-hub-"))
            undo.callback(shutil.rmtree, directory)
        socket_path = directory / "hub.sock"
        listen: list[HubAddress] = [UnixAddress(socket_path)]
        if tcp:
            listen.append(TcpAddress("127.0.0.1", 0))
        settings = HubSettings(
            listen=tuple(listen),
            data_dir=directory / "data",
            tls=tls,
            net_conf=None if net_conf is None else json.dumps(net_conf),
            limits=limits or Limits(linger_s=0.5),
        )
        server = await open_server(settings, undo)
        yield RunningHub(f"unix:{socket_path}", server)


class HubProcess(ServerProcess):
    """``podway hub`` as a process of its own, on a Unix socket.

    Its directory holds ``hub.sock``, ``data`` and ``net-conf.json``.

    Attributes:
        url: of its socket.
        data_dir: of its database.
        arguments: further ones.
    """

    def __init__(
        self,
        *,
        net_conf: dict[str, Any] | None = HOST_GW,
        arguments: Sequence[str] = (),
        data_dir: Path | None = None,
    ) -> None:
        super().__init__("hub")
        self.data_dir = data_dir or self.directory / "data"
        self.url = f"unix:{self.directory / 'hub.sock'}"
        self.arguments = list(arguments)
        if net_conf is not None:
            path = self.directory / "net-conf.json"
            path.write_text(json.dumps(net_conf))
            self.arguments += ["--net-conf", str(path)]

    def command(self) -> list[str]:
        where = ("--listen", self.url, "--data-dir", str(self.data_dir))
        return [sys.executable, "-m", "podway.hub", *where, *self.arguments]

    def serves(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.directory / "hub.sock")) == 0

    def open_store(self, options: HubOptions = QUICK) -> HubStore:
        """Return a client; the caller closes it."""
        return open_hub(self.url, options=options)


def run_scenario(scenario: Callable[[], Any], patience_s: float = 60.0) -> None:
    """Run the coroutine function *scenario* in an event loop of its own, under a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(patience_s):
            await scenario()

    asyncio.run(bounded())
