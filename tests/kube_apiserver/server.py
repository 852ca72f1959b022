"""A real Kubernetes API server for tests: etcd and kube-apiserver on loopback, as processes.

``KubeServer`` can be killed and started again (etcd stays), loses its etcd's history on request
(compaction), and makes kubeconfigs. ``Admin`` talks to it with the standard library alone: the
witness of what podway's own client did.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podway.lab.errors import LabError
from podway.lab.kube_programs import (
    etcd_arguments,
    find_etcd,
    find_kube_apiserver,
    kube_apiserver_arguments,
    needed_feature_gates,
    token_line,
)
from store.etcd_process import free_ports
from store.pem import Authority

ADMIN_TOKEN = "admin-token"
START_S = 60.0
Json = dict[str, Any]


class ApiError(Exception):
    """The API server refused.

    Attributes:
        code: HTTP status.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


class KubeServer:
    """etcd and kube-apiserver; `start` returns when the API server serves.

    Attributes:
        directory: of everything.
        port: of the API server on 127.0.0.1.
        clients: signs certificates that the API server takes; the common name is the user's.
        etcd_url: of etcd.
    """

    def __init__(self) -> None:
        self._etcd_program = find_etcd(os.environ)
        self._program = find_kube_apiserver(os.environ)
        self.directory = Path(tempfile.mkdtemp(prefix="podway-kube-"))
        etcd_port, peer_port, self.port = free_ports(3)
        self.etcd_url = f"http://127.0.0.1:{etcd_port}"
        self._peer_url = f"http://127.0.0.1:{peer_port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._gates = needed_feature_gates(self._program)
        tokens = token_line(ADMIN_TOKEN, "admin", "system:masters")
        (self.directory / "tokens.csv").write_text(tokens)
        self.clients = Authority(self.directory / "clients")

    @property
    def ca(self) -> Path:
        """Who signed the API server's certificate."""
        return self.directory / "certs" / "apiserver.crt"

    def start(self) -> None:
        """Start what does not run, and wait until the API server is ready."""
        if "etcd" not in self._processes:
            arguments = etcd_arguments(self.directory / "etcd", self.etcd_url, self._peer_url)
            self._spawn("etcd", self._etcd_program, arguments)
        arguments = kube_apiserver_arguments(
            self.directory, "127.0.0.1", self.port, self.etcd_url, feature_gates=self._gates
        )
        known = f"--client-ca-file={self.clients.ca}"
        self._spawn("kube-apiserver", self._program, (*arguments, known))
        self._wait_ready()

    def kill(self, name: str = "kube-apiserver") -> None:
        """End a process without warning."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def pause(self, name: str) -> None:
        """Stop a process in its tracks; `resume` lets it go on."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused process go on."""
        self._processes[name].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End everything and remove its files."""
        for name in tuple(self._processes):
            self.kill(name)
        shutil.rmtree(self.directory)

    def admin(self) -> "Admin":
        """Return a client that may do everything."""
        return Admin(self, ADMIN_TOKEN)

    def compact(self) -> None:
        """Make etcd forget its history: every revision but the last is gone."""
        status = self._etcd("/v3/kv/range", {"key": "AA==", "limit": 1})
        revision = status["header"]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def kubeconfig(self, path: Path, user: Json, server: str = "") -> Path:
        """Write a kubeconfig for *user* (as JSON, which is YAML) and return *path*."""
        url = server or f"https://127.0.0.1:{self.port}"
        cluster = {"server": url, "certificate-authority": str(self.ca)}
        path.write_text(json.dumps(kubeconfig(cluster, user)))
        return path

    def _etcd(self, path: str, body: Json) -> Json:
        host = self.etcd_url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(host, timeout=10)) as connection:
            connection.request("POST", path, json.dumps(body))
            reply = connection.getresponse()
            answer: Json = json.loads(reply.read())
            assert reply.status == 200, answer
            return answer

    def _spawn(self, name: str, program: Path, arguments: tuple[str, ...]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [program, *arguments], stdout=log, stderr=log, cwd=self.directory
            )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError, ApiError, http.client.HTTPException):
                self.admin().get("/readyz")
                # RBAC's own roles are made by a hook after that.
                self.admin().get("/apis/rbac.authorization.k8s.io/v1/clusterroles/view")
                return
            ended = [name for name, each in self._processes.items() if each.poll() is not None]
            if ended or time.monotonic() > deadline:
                log = (self.directory / "kube-apiserver.log").read_text(errors="replace")
                pytest.fail(f"kube-apiserver does not come up (ended: {ended}):\n{log[-3000:]}")
            time.sleep(0.05)


class Admin:
    """Plain requests with one token."""

    def __init__(self, server: KubeServer, token: str) -> None:
        self._server = server
        self._token = token

    def get(self, path: str) -> Json:
        return self.ask("GET", path)

    def post(self, path: str, body: Json) -> Json:
        return self.ask("POST", path, body)

    def delete(self, path: str) -> Json:
        return self.ask("DELETE", path)

    def patch(self, path: str, body: Json) -> Json:
        return self.ask("PATCH", path, body, "application/strategic-merge-patch+json")

    def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """Return the answer's JSON. Raises `ApiError`."""
        context = ssl.create_default_context(cafile=str(self._server.ca))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._server.port, context=context, timeout=20
        )
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body else None, headers)
            reply = connection.getresponse()
            data = reply.read()
        if reply.status >= 300:
            raise ApiError(reply.status, data.decode(errors="replace"))
        answer: Json = json.loads(data) if data[:1] == b"{" else {}
        return answer

    # -- Nodes

    def add_node(self, name: str, *pod_cidrs: str, **annotations: str) -> Json:
        """Make a Node as the kubelet and kube-controller-manager do."""
        spec: Json = {"podCIDR": pod_cidrs[0], "podCIDRs": pod_cidrs} if pod_cidrs else {}
        metadata = {"name": name, "annotations": annotations}
        return self.post("/api/v1/nodes", {"metadata": metadata, "spec": spec})

    def add_peer(self, number: int) -> str:
        """Make a Node as a flanneld leaves it; return its name."""
        name = f"peer{number}"
        self.add_node(name, f"10.244.{100 + number}.0/24")
        self.annotate(
            name,
            kube_subnet_manager="true",
            backend_type="vxlan",
            backend_data='{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}',
            public_ip=f"192.0.2.{100 + number}",
        )
        return name

    def node(self, name: str) -> Json:
        return self.get(f"/api/v1/nodes/{name}")

    def annotate(self, name: str, **annotations: str | None) -> Json:
        """Write annotations under flannel's prefix; underscores stand for hyphens."""
        texts = {
            f"flannel.alpha.coreos.com/{key.replace('_', '-')}": text
            for key, text in annotations.items()
        }
        return self.patch(f"/api/v1/nodes/{name}", {"metadata": {"annotations": texts}})

    def annotations(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.node(name)["metadata"].get("annotations", {})
        return found

    def remove_node(self, name: str) -> None:
        self.delete(f"/api/v1/nodes/{name}")

    def remove_all_nodes(self) -> None:
        for node in self.get("/api/v1/nodes")["items"]:
            self.remove_node(node["metadata"]["name"])


def kubeconfig(cluster: Json, user: Json) -> Json:
    """Return a kubeconfig with one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
    }


@contextlib.contextmanager
def running_kube_server() -> Iterator[KubeServer]:
    """Start an API server, and end it; skips where the programs are missing."""
    try:
        server = KubeServer()
    except LabError as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.stop()
