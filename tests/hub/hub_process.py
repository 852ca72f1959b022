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
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
START_S = 20.0


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


class HubProcess:
    """``podway hub`` as a process of its own, on a Unix socket.

    Attributes:
        directory: holds ``hub.sock``, ``data`` and ``net-conf.json``.
        url: of its socket.
    """

    def __init__(
        self,
        *,
        net_conf: dict[str, Any] | None = HOST_GW,
        arguments: Sequence[str] = (),
        data_dir: Path | None = None,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="podway-hub-"))
        self.data_dir = data_dir or self.directory / "data"
        self.url = f"unix:{self.directory / 'hub.sock'}"
        self.arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        if net_conf is not None:
            path = self.directory / "net-conf.json"
            path.write_text(json.dumps(net_conf))
            self.arguments += ["--net-conf", str(path)]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that it has logged, over all starts."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start it and wait until its socket is there."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "podway.hub"),
                    *("--listen", self.url, "--data-dir", str(self.data_dir)),
                    *self.arguments,
                ],
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._wait_until_up()

    def kill(self) -> None:
        """End it as a power cut would (kill -9)."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """End it as an operator would; return its exit code."""
        return self._signal(signal.SIGTERM)

    def open_store(self, options: HubOptions = QUICK) -> HubStore:
        """Return a client; the caller closes it."""
        return open_hub(self.url, options=options)

    def _wait_until_up(self) -> None:
        deadline_s = time.monotonic() + START_S
        path = self.url.removeprefix("unix:")
        while True:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"the hub did not start:\n{self.log}")
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(path)
                return
            time.sleep(0.005)

    def _signal(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=START_S)

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory)


def run_scenario(scenario: Callable[[], Any], patience_s: float = 60.0) -> None:
    """Run the coroutine function *scenario* in an event loop of its own, under a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(patience_s):
            await scenario()

    asyncio.run(bounded())
