"""Real etcd servers for tests, from Debian's package, and etcdctl as the independent witness.

``EtcdProcess`` is one member in a directory that outlives it::

    with EtcdProcess() as etcd:
        etcd.ctl("put", "/coreos.com/network/config", "{}")
        etcd.kill()
        etcd.start()

It listens on loopback alone. Every process is ended by its own number, every file removed.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.server_process import ServerProcess
from podway.store.access import StoreAccess
from podway.store.etcd import EtcdStore
from podway.store.etcd_open import open_etcd
from podway.store.etcd_watch import EtcdOptions

CONFIG = "/coreos.com/network/config"
SUBNETS = "/coreos.com/network/subnets/"
# So that a test that lost its store waits for milliseconds and not for seconds.
QUICK = EtcdOptions(backoff_min_s=0.01, backoff_max_s=0.1, request_s=20.0)


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class EtcdProcess(ServerProcess):
    """One member, alone or of a cluster.

    Attributes:
        name: of the member.
        endpoint: where clients reach it: ``http://127.0.0.1:PORT``.
        ctl_arguments: by which etcdctl is let in.
    """

    def __init__(
        self,
        *,
        name: str = "m0",
        ports: Sequence[int] = (),
        cluster: str = "",
        arguments: Sequence[str] = (),
        scheme: str = "http",
    ) -> None:
        super().__init__("etcd", _quick_disk())
        self.name = name
        self._client_port, peer_port = ports or free_ports(2)
        self._peer_url = f"http://127.0.0.1:{peer_port}"
        self.endpoint = f"{scheme}://127.0.0.1:{self._client_port}"
        self._cluster = cluster or f"{name}={self._peer_url}"
        self._arguments = list(arguments)
        self.ctl_arguments: list[str] = []

    def command(self) -> list[str]:
        return [
            *("etcd", "--name", self.name, "--data-dir", str(self.directory / "data")),
            *("--listen-client-urls", self.endpoint),
            *("--advertise-client-urls", self.endpoint),
            *("--listen-peer-urls", self._peer_url),
            *("--initial-advertise-peer-urls", self._peer_url),
            *("--initial-cluster", self._cluster),
            *("--heartbeat-interval", "20", "--election-timeout", "200"),
            *("--logger", "zap", "--log-level", "warn"),
            *self._arguments,
        ]

    def serves(self) -> bool:
        """Tell whether it answers, and so has a leader: of a cluster most must be there."""
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self._client_port)):
                return False
        return self._try_ctl("get", "x").returncode == 0

    def url(self, prefix: str = "/coreos.com/network") -> str:
        """Return where podway finds the network under *prefix*."""
        return f"etcd:{self.endpoint}{prefix}"

    def open_store(
        self,
        prefix: str = "/coreos.com/network",
        access: StoreAccess | None = None,
        options: EtcdOptions = QUICK,
    ) -> EtcdStore:
        """Return a client; the caller closes it."""
        return open_etcd(self.url(prefix), access or StoreAccess(), options)

    def ctl(self, *words: str, stdin: str = "") -> str:
        """Return what ``etcdctl words...`` prints, which reads *stdin*."""
        done = self._try_ctl(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _try_ctl(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["etcdctl", f"--endpoints={self.endpoint}", *self.ctl_arguments, *words],
            env={**os.environ, "ETCDCTL_API": "3"},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def put(self, key: str, value: str) -> None:
        """Write *value* at *key*, without a lease."""
        self.ctl("put", "--", key, value)

    def get(self, key: str) -> str | None:
        """Return what *key* holds, None where it is not there."""
        found = self.keys(key)
        return found.get(key, (None, 0))[0]

    def keys(self, prefix: str) -> dict[str, tuple[str, int]]:
        """Return the value and the lease of every key that begins with *prefix*."""
        from base64 import b64decode  # noqa: PLC0415

        document: dict[str, Any] = json.loads(self.ctl("get", "--prefix", prefix, "-w", "json"))
        return {
            b64decode(kv["key"]).decode(): (
                b64decode(kv.get("value", "")).decode(),
                int(kv.get("lease", 0)),
            )
            for kv in document.get("kvs", ())
        }

    def revision(self) -> int:
        """Return the store's revision."""
        return int(json.loads(self.ctl("get", "x", "-w", "json"))["header"]["revision"])

    def compact(self) -> None:
        """Forget all history."""
        self.ctl("compact", str(self.revision()))

    def restore(self, snapshot: Path) -> None:
        """Put back what *snapshot* (``etcdctl snapshot save``) holds; it must not run."""
        shutil.rmtree(self.directory / "data")
        self.ctl(
            *("snapshot", "restore", str(snapshot), "--name", self.name),
            *("--data-dir", str(self.directory / "data")),
            *("--initial-cluster", self._cluster),
            *("--initial-advertise-peer-urls", self._peer_url),
        )


def _quick_disk() -> str | None:
    """Return a directory in memory, where an fsync costs nothing; None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
