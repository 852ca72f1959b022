"""Traffic through the qdiscs of the ``bandwidth`` executable: what is shaped, and what is not."""

import json
import socket
from threading import Thread

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Runtime, with_previous
from netns.plugins.shaped_links import BOTH, attach, bandwidth, host_end
from podway.netlink import entered

pytestmark = pytest.mark.kernel("ifb")


def send(source: Netns, target: Netns, address: str, size: int) -> None:
    """Send bytes over TCP, and see that they all arrive."""
    with entered(target.fd):
        listener = socket.create_server((address, 0))
    with entered(source.fd):
        sender = socket.socket()
    with listener, sender:
        sender.settimeout(30)
        sender.connect((address, listener.getsockname()[1]))
        receiver, _ = listener.accept()

        def push() -> None:
            sender.sendall(bytes(size))
            sender.close()

        thread = Thread(target=push)
        thread.start()
        with receiver:
            left = size
            while chunk := receiver.recv(1 << 16):
                left -= len(chunk)
        thread.join()
    assert left == 0


def test_traffic_is_shaped(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    keys = {**BOTH, "ingressBurst": 80_000, "egressBurst": 80_000}
    result = runtime.add(with_previous(bandwidth(**keys), previous), pod)
    size = 200_000
    for source, target, device in (
        (runtime.host, pod, host_end(result)),
        (pod, runtime.host, result["interfaces"][-1]["name"]),
    ):
        address = "10.1.0.2" if target is pod else "10.1.0.1"
        send(source, target, address, size)
        (counted,) = json.loads(
            runtime.host.exec("tc", "-j", "-s", "qdisc", "show", "dev", device, "root")
        )
        assert counted["bytes"] > size
        assert counted["overlimits"] > 0


def test_traffic_of_other_subnets_is_not_shaped(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    keys = {"egressRate": 8_000, "egressBurst": 8_000_000, "ingressRate": 8_000}
    config = bandwidth(**keys, ingressBurst=8_000_000, unshapedSubnets=["10.1.0.1/32"])
    result = runtime.add(with_previous(config, previous), pod)
    size = 100_000
    send(runtime.host, pod, "10.1.0.2", size)
    send(pod, runtime.host, "10.1.0.1", size)
    for device in (host_end(result), result["interfaces"][-1]["name"]):
        text = runtime.host.exec("tc", "-s", "class", "show", "dev", device)
        free, shaped = text.split("class htb ")[1:]
        assert int(free.split("Sent ")[1].split()[0]) > size
        assert int(shaped.split("Sent ")[1].split()[0]) < size
