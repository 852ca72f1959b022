"""containerd, as Debian 12 has it, told by CRI (as a kubelet tells it) to make pods.

In CRI a pod's network is all that a sandbox is: RunPodSandbox makes the namespace, starts the pause
container, and calls CNI; here that container's program is busybox's ``sleep``. Field numbers are
those of ``runtime/v1/api.proto``.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from netns.clients.machine import Machine, child_of
from netns.clients.protobuf import Message, dig, encode

_CONFIGURATION = """\
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
disable_cgroup = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{directory}/net.d"
"""
_IMAGE = "localhost/pause:1"
_SERVICE = "/runtime.v1.RuntimeService"


@dataclass(frozen=True)
class Containerd:
    """containerd that runs.

    Attributes:
        machine: where.
        channel: to its CRI service.
        networks: directory of its network configurations.
    """

    machine: Machine
    channel: grpc.Channel
    networks: Path

    def call(self, method: str, request: Message) -> bytes:
        """Call a method of the runtime service; grpc.RpcError if it fails."""
        stub = self.channel.unary_unary(f"{_SERVICE}/{method}")
        answer: bytes = stub(encode(request), timeout=60)
        return answer

    def network_ready(self) -> bool:
        """Tell whether containerd has a network configuration that it can use."""
        conditions = dig(self.call("Status", {}), 1, 1)
        return any(dig(each, 1) == [b"NetworkReady"] and _is_true(each) for each in conditions)

    def run_pod(self, name: str, ports: Sequence[Message] = (), **annotations: str) -> str:
        """Make a pod, and return its identifier.

        Args:
            name: of the pod.
            ports: PortMapping messages.
            annotations: of the pod; ``_`` in a key stands for ``-`` after ``kubernetes.io/``.
        """
        config = pod_config(name, ports, annotations)
        return dig(self.call("RunPodSandbox", {1: config}), 1)[0].decode()

    def stop_pod(self, identifier: str) -> None:
        """Take a pod's network away."""
        self.call("StopPodSandbox", {1: identifier})

    def remove_pod(self, identifier: str) -> None:
        """Forget a pod."""
        self.call("RemovePodSandbox", {1: identifier})

    def remove_all_pods(self) -> None:
        """Forget every pod that is still there."""
        for pod in dig(self.call("ListPodSandbox", {}), 1, 1):
            self.stop_pod(pod.decode())
            self.remove_pod(pod.decode())

    def addresses(self, identifier: str) -> list[str]:
        """Return the pod's addresses as CRI tells them, the first one first."""
        network = dig(self.call("PodSandboxStatus", {1: identifier}), 1, 5)[0]
        return [text.decode() for text in (*dig(network, 1), *(dig(network, 2, 1)))]

    def inside(self, identifier: str, *argv: str) -> str:
        """Run a program in the pod's network, and return what it prints."""
        status = dig(self.call("PodSandboxStatus", {1: identifier, 2: 1}), 2)
        infos = {dig(each, 1)[0]: dig(each, 2)[0] for each in status}
        pid = json.loads(infos[b"info"])["pid"]
        return self.machine.run("nsenter", f"--target={pid}", "--net", *argv)


def _is_true(condition: bytes) -> bool:
    return b"\x10\x01" in condition


def pod_config(name: str, ports: Sequence[Message], annotations: dict[str, str]) -> Message:
    """Return a PodSandboxConfig."""
    marks: list[Message] = [
        {1: f"kubernetes.io/{key.replace('_', '-')}", 2: value}
        for key, value in annotations.items()
    ]
    return {
        1: {1: name, 2: f"uid-{name}", 3: "default"},
        2: name,
        5: list(ports),
        7: list(marks),
        8: {},
    }


@contextmanager
def new_containerd(machine: Machine, plugins: Path, root_archive: Path) -> Iterator[Containerd]:
    """Start containerd on *machine*, with an image for pods."""
    directory = machine.directory
    networks = directory / "net.d"
    networks.mkdir()
    socket = directory / "c.sock"
    text = _CONFIGURATION.format(directory=directory, socket=socket, plugins=plugins, image=_IMAGE)
    configuration = directory / "containerd.toml"
    configuration.write_text(text)
    log = directory / "containerd.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            machine.command("containerd", "--config", configuration),
            env=machine.environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        _import_image(machine, socket, root_archive)
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            containerd = Containerd(machine, channel, networks)
            yield containerd
            containerd.remove_all_pods()
    finally:
        os.kill(child_of(process.pid), signal.SIGTERM)
        process.wait(30)


def _import_image(machine: Machine, socket: Path, root_archive: Path) -> None:
    """Give containerd the image, once it listens."""
    archive = machine.directory / "image.tar"
    _write_image(archive, root_archive.read_bytes())
    command = ("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import")
    deadline = time.monotonic() + 30
    while machine.fails(*command, "--snapshotter=native", archive):
        log = machine.directory.joinpath("containerd.log").read_text()
        assert time.monotonic() < deadline, log
        time.sleep(0.05)


def _write_image(path: Path, layer: bytes) -> None:
    """Write an image as ``docker save`` does, with one layer."""
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Entrypoint": ["/bin/sleep", "100000"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [_IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        _add_file(archive, "layer.tar", layer)
        _add_file(archive, "config.json", json.dumps(config).encode())
        _add_file(archive, "manifest.json", json.dumps(manifest).encode())


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
