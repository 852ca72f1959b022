"""Docker's modes in a lab: who reaches whom, and that nothing is left."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab.probes import PODWAY, podway_json, run_podway
from podway.lab.errors import LabError, NoSuchLab, PluginFailed
from podway.lab.members import namespace_of_member
from podway.lab.names import lab_dir, namespace_of
from podway.lab.pod_networks import parse_attachment
from podway.lab.runtime import add_pods, check_pod, remove_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods
from podway.model.addresses import Family

SERVER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], int(sys.argv[2])), family=family) as server:
    print("listening", flush=True)
    while True:
        client, address = server.accept()
        with client:
            client.sendall(address[0].encode())
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    print(connection.recv(100).decode())
"""


def inside(spec: LabSpec, member: str, program: str, *arguments: str) -> list[str]:
    namespace = namespace_of_member(spec, member)
    return ["ip", "netns", "exec", namespace, "python3", "-c", program, *arguments]


@contextmanager
def serving(spec: LabSpec, member: str, address: str, port: int) -> Iterator[None]:
    """Tell every client the address that it seems to have."""
    command = inside(spec, member, SERVER, address, str(port))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "listening\n"
            yield
        finally:
            server.kill()


def seen_as(spec: LabSpec, member: str, address: str, port: int) -> str:
    """Connect from *member*; return as whom the server saw it, "" if it was not reached."""
    command = inside(spec, member, CLIENT, address, str(port))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip()


def underlay_address(spec: LabSpec, node: str) -> str:
    add_pods(spec, ["probe"], node, parse_attachment("host", []))
    (pod,) = (pod for pod in read_pods(spec.name) if pod.name == "probe")
    remove_pods(spec, [pod])
    return str(pod.addresses[0])


@pytest.mark.parametrize(
    "family", [pytest.param(Family.IPV4, id="v4"), pytest.param(Family.IPV6, id="v6")]
)
def test_bridge(make_lab: Callable[..., LabSpec], family: Family) -> None:
    """Same addresses on every node, masquerade outwards, published ports inwards."""
    spec = make_lab(families=(family,))
    published = parse_attachment("bridge", ["8080:80"])
    (web,) = add_pods(spec, ["web"], "n1", published)
    (other,) = add_pods(spec, ["other"], "n2", parse_attachment("bridge", []))
    assert web.addresses == other.addresses
    n1, n2 = (underlay_address(spec, node) for node in ("n1", "n2"))
    anywhere = "0.0.0.0" if family is Family.IPV4 else "::"
    with serving(spec, "web", anywhere, 80):
        assert seen_as(spec, "n2", n1, 8080) == n2
        assert seen_as(spec, "other", n1, 8080) == n2
        assert seen_as(spec, "n1", str(web.addresses[0]), 80)
        assert seen_as(spec, "n1", n1, 8080)
        check_pod(spec, web)
        remove_pods(spec, [web, other])
        assert not seen_as(spec, "n2", n1, 8080)
    assert veths(spec, "n1") == []


def veths(spec: LabSpec, node: str) -> list[str]:
    command = ["ip", "-n", namespace_of(spec.name, node), "-j", "link", "show", "type", "veth"]
    links = json.loads(subprocess.check_output(command))
    return [link["ifname"] for link in links if link["ifname"].startswith("veth")]


def test_failed_chain_leaves_nothing(make_lab: Callable[..., LabSpec]) -> None:
    """The second plugin cannot even start: what the first one made is undone."""
    spec = make_lab(nodes=(1,))
    add_pods(spec, ["a"], None, parse_attachment("bridge", ["8080:80"]))
    plugin = lab_dir(spec.name) / "cni" / "portmap"
    plugin.chmod(0o600)
    with pytest.raises(PluginFailed):
        add_pods(spec, ["b"], None, parse_attachment("bridge", ["8081:80"]))
    assert [pod.name for pod in read_pods(spec.name)] == ["a"]
    plugin.chmod(0o755)
    add_pods(spec, ["c"], None, parse_attachment("bridge", ["8081:80"]))
    assert len(veths(spec, "n1")) == 2


def test_port_in_use(make_lab: Callable[..., LabSpec]) -> None:
    """As Docker: a port of a node leads to one container; another node's port is another one."""
    spec = make_lab()
    attachment = parse_attachment("bridge", ["8080:80"])
    add_pods(spec, ["a", "b"], None, attachment)
    with pytest.raises(LabError, match="'a' has port 8080/tcp of n1"):
        add_pods(spec, ["c"], "n1", attachment)
    assert [pod.name for pod in read_pods(spec.name)] == ["a", "b"]


def test_host_none_and_shared(make_lab: Callable[..., LabSpec]) -> None:
    """By the command line, as a user does."""
    spec = make_lab()
    run_podway(spec.name, "pod", "add")
    for network in ("host", "none", "container:p1"):
        podway_json(spec.name, "pod", "add", "--network", network)
    pods = {pod["name"]: pod for pod in podway_json(spec.name, "pod", "list")["pods"]}
    assert [pods[name]["network"] for name in sorted(pods)] == [
        "podway", "host", "none", "container:p1",
    ]  # fmt: skip
    assert pods["p3"]["addresses"] == []
    assert pods["p4"]["addresses"] == pods["p1"]["addresses"]
    assert namespace_of_member(spec, "p2") == namespace_of(spec.name, pods["p2"]["node"])
    assert namespace_of_member(spec, "p4") == namespace_of(spec.name, "p1")
    only_loopback = subprocess.check_output(
        [*PODWAY, "lab", "--name", spec.name, "exec", "p3", "--", "ip", "-o", "link"], text=True
    )
    assert len(only_loopback.splitlines()) == 1
    pings = podway_json(spec.name, "ping")["pings"]
    assert {ping["from"] for ping in pings} == {"p1", "p2"}
    assert all(ping["rtt_ms"] is not None for ping in pings)
    with pytest.raises(LabError):
        remove_pods(spec, [pod for pod in read_pods(spec.name) if pod.name == "p1"])
    podway_json(spec.name, "pod", "check")
    podway_json(spec.name, "pod", "rm", *pods)


def test_shared_with_nobody(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab(nodes=(1,))
    with pytest.raises(NoSuchLab):
        add_pods(spec, ["a"], None, parse_attachment("container:nobody", []))
