"""The ``portmap`` executable: ports with traffic, the original as witness, what is left of it.

The container is attached to a bridge of a host namespace; an outside namespace is the world.
"""

import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    config_of,
    with_previous,
    without_waiting,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import each_first, needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    IO_FAILURE,
    LIMITED_CONNECTIVITY,
)
from podway.netlink import entered

BACKENDS: Final = ("iptables", "nftables")
HOST, HOST_SIX = "192.0.2.1", "2001:db8::1"
POD, POD_SIX = "10.1.0.5", "fd01::5"
TCP: Final = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
UDP: Final = {"hostPort": 8053, "containerPort": 53, "protocol": "udp"}
ARRIVES_WITHIN_S: Final = 10
MANUAL: Final = Path(__file__).parents[3] / "docs" / "reference" / "cni" / "portmap.md"
both_backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture
def outside(runtime: Runtime, make_netns: MakeNetns) -> Netns:
    """Return a namespace that reaches the host, and knows no way to containers."""
    outside, host = without_waiting(make_netns()), without_waiting(runtime.host)
    host.ip("link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", outside.name)
    for netns, device, number in ((host, "up0", 1), (outside, "eth0", 9)):
        netns.ip("addr", "add", f"192.0.2.{number}/24", "dev", device)
        netns.ip("addr", "add", f"2001:db8::{number}/64", "nodad", "dev", device)
        netns.ip("link", "set", device, "up")
    host.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    return outside


def attach(host: Netns, pod: Netns, number: int = 5) -> Document:
    """Attach a container to bridge br0 by hand; return the result that a plugin would have."""
    if "br0" not in host.ip("link"):
        host.ip("link", "add", "br0", "type", "bridge")
        host.ip("addr", "add", "10.1.0.1/24", "dev", "br0")
        host.ip("addr", "add", "fd01::1/64", "nodad", "dev", "br0")
        host.ip("link", "set", "br0", "up")
    without_waiting(pod)
    port = f"port{number}"
    host.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", pod.name)
    host.ip("link", "set", port, "master", "br0", "up")
    # What the bridge plugin does with hairpinMode: a container reaches itself.
    host.exec("bridge", "link", "set", "dev", port, "hairpin", "on")
    pod.ip("addr", "add", f"10.1.0.{number}/24", "dev", "eth0")
    pod.ip("addr", "add", f"fd01::{number}/64", "nodad", "dev", "eth0")
    pod.ip("link", "set", "eth0", "up")
    pod.ip("route", "add", "default", "via", "10.1.0.1")
    pod.ip("route", "add", "default", "via", "fd01::1")
    return result_of(pod.path, number)


def result_of(sandbox: str, number: int = 5) -> Document:
    """Return the result of a bridge plugin."""
    return {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": sandbox}],
        "ips": [
            {"address": f"10.1.0.{number}/24", "interface": 1},
            {"address": f"fd01::{number}/64", "interface": 1},
        ],
    }


def portmap(*mappings: Document, **keys: Any) -> Document:
    """Return a configuration that publishes *mappings*."""
    return config_of("portmap", runtimeConfig={"portMappings": list(mappings or (TCP,))}, **keys)


def rules(host: Netns) -> str:
    """Return all rules of the host's namespace, without counters."""
    listed = host.exec("nft", "list", "ruleset")
    return re.sub(r"counter packets \d+ bytes \d+", "counter", listed)


def nat_tables(host: Netns) -> list[str]:
    """Return tables nat of both families, as iptables-save prints them."""
    saved = [host.exec(f"{program}-save", "-t", "nat") for program in ("iptables", "ip6tables")]
    return [
        re.sub(r" \[.*", "", line) for line in "".join(saved).splitlines() if line[0] not in "#*"
    ]


def traces(host: Netns, container: str = "c1") -> list[str]:
    """Return what is left of a container's rules."""
    listed = rules(host)
    own = [line for line in listed.splitlines() if "CNI-DN-" in line]
    return own + re.findall(rf'.*comment "{container}".*', listed)


class Server:
    """Sockets of a container on port 80 (TCP) or 53 (UDP)."""

    def __init__(self, pod: Netns, port: int, kind: int, address: str = POD) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with entered(pod.fd):
            self.socket = socket.socket(family, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        if kind == socket.SOCK_STREAM:
            self.socket.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def seen(self) -> str:
        """Answer whoever comes next, and return its address."""
        self.socket.settimeout(ARRIVES_WITHIN_S)
        if self.socket.type == socket.SOCK_STREAM:
            accepted, peer = self.socket.accept()
            with accepted:
                accepted.sendall(b"hello")
        else:
            _, peer = self.socket.recvfrom(100)
            self.socket.sendto(b"hello", peer)
        return str(peer[0])


def client_in(netns: Netns, address: str, kind: int) -> socket.socket:
    """Return a socket of *netns* that can reach *address*."""
    with entered(netns.fd):
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.settimeout(ARRIVES_WITHIN_S)
    return made


def reach(client: Netns, pod: Netns, to: str, mapping: Document = TCP, address: str = POD) -> str:
    """Reach a published port and get an answer; return the address that the container sees.

    Raises:
        OSError: there is no way, or no answer.
    """
    kind = socket.SOCK_STREAM if mapping["protocol"] == "tcp" else socket.SOCK_DGRAM
    with (
        Server(pod, mapping["containerPort"], kind, address) as server,
        client_in(client, to, kind) as caller,
    ):
        caller.connect((to, mapping["hostPort"]))
        caller.send(b"hello") if kind == socket.SOCK_DGRAM else None
        seen = server.seen()
        assert caller.recv(10) == b"hello"
    return seen


def is_refused(client: Netns, to: str, port: int = 8080) -> bool:
    """Tell whether nobody listens there."""
    with client_in(client, to, socket.SOCK_STREAM) as caller:
        try:
            caller.connect((to, port))
        except ConnectionRefusedError:
            return True
    return False


CASES: dict[str, Document] = {
    "one port": {},
    "every protocol": {
        "mappings": [TCP, UDP, {"hostPort": 9, "containerPort": 9, "protocol": "sctp"}],
    },
    "many ports": {
        "mappings": [{"hostPort": n, "containerPort": n, "protocol": "tcp"} for n in range(1, 40)],
    },
    "addresses of the host": {
        "mappings": [
            {**TCP, "hostIP": "192.0.2.1"},
            {**UDP, "hostIP": "2001:db8::1"},
            {**TCP, "hostPort": 81, "hostIP": "0.0.0.0"},
            {**TCP, "hostPort": 82, "hostIP": "::"},
        ],
    },
    "no masquerade": {"snat": False},
    "another mark": {"markMasqBit": 31},
    "somebody's chain": {"externalSetMarkChain": "KUBE-MARK-MASQ"},
    "conditions": {
        "conditionsV4": ["!", "-d", "192.0.2.0/24"],
        "conditionsV6": ["!", "-d", "fc00::/7"],
    },
}


@needs_original
@pytest.mark.parametrize("case", CASES)
def test_the_same_as_the_original(case: str, make_netns: MakeNetns, runtime: Runtime) -> None:
    found = []
    for reference in (True, False):
        hosted = Runtime(make_netns(), runtime.executables, runtime.directory)
        pod = make_netns()
        result = {**attach(hosted.host, pod), "cniVersion": "1.0.0"}
        keys = dict(CASES[case])
        config = {**portmap(*keys.pop("mappings", ()), **keys), "cniVersion": "1.0.0"}
        if "externalSetMarkChain" in keys:
            for program in ("iptables", "ip6tables"):
                hosted.host.exec(program, "-t", "nat", "-N", keys["externalSetMarkChain"])
        told = hosted.add(with_previous(config, result), pod, reference=reference)
        told.pop("dns", None)
        told["interfaces"][1].pop("sandbox")
        localnet = hosted.host.exec("sysctl", "-n", "net.ipv4.conf.br0.route_localnet")
        found.append((told, nat_tables(hosted.host), localnet))
    theirs, ours = found
    assert ours == theirs


@needs_original
@each_first
def test_one_adds_and_the_other_deletes(
    ours_first: bool,  # noqa: FBT001
    runtime: Runtime,
    make_netns: MakeNetns,
) -> None:
    pod = make_netns()
    result = {**attach(runtime.host, pod), "cniVersion": "1.0.0"}
    config = with_previous({**portmap(TCP, UDP), "cniVersion": "1.0.0"}, result)
    runtime.add(config, pod, reference=not ours_first)
    assert traces(runtime.host)
    # The original's CHECK fails for its own rules too: it looks for each address in both tables.
    assert runtime.call("CHECK", config, pod).code == 0
    assert runtime.call("DEL", config, pod, reference=ours_first).code == 0
    assert traces(runtime.host) == []


@both_backends
def test_traffic(backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns) -> None:
    pod, host = make_netns(), runtime.host
    config = with_previous(portmap(TCP, UDP, backend=backend), attach(host, pod))
    assert runtime.add(config, pod) == config["prevResult"]
    assert reach(outside, pod, HOST) == "192.0.2.9"
    assert reach(outside, pod, HOST, UDP) == "192.0.2.9"
    assert reach(outside, pod, HOST_SIX, address=POD_SIX) == "2001:db8::9"
    assert reach(outside, pod, HOST_SIX, UDP, POD_SIX) == "2001:db8::9"
    assert reach(host, pod, "127.0.0.1") == "10.1.0.1"
    assert reach(host, pod, "127.0.0.1", UDP) == "10.1.0.1"
    reach(host, pod, HOST)
    reach(host, pod, HOST_SIX, address=POD_SIX)
    assert reach(pod, pod, HOST) != POD, "hairpin: answers must come back by the host"
    assert reach(pod, pod, HOST_SIX, address=POD_SIX) != POD_SIX
    assert runtime.call("CHECK", config, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", config, pod).code == 0
        assert traces(host) == []
    assert is_refused(outside, HOST)
    assert is_refused(host, "127.0.0.1")
    assert is_refused(outside, HOST_SIX)


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("iptables", marks=pytest.mark.kernel("sctp")),
        pytest.param("nftables", marks=pytest.mark.kernel("sctp", "nft_ip")),
    ],
)
def test_sctp(backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns) -> None:
    pod, host = make_netns(), runtime.host
    mapping = {**TCP, "protocol": "sctp"}
    runtime.add(with_previous(portmap(mapping, backend=backend), attach(host, pod)), pod)
    with entered(pod.fd):
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    with entered(outside.fd):
        caller = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    with server, caller:
        server.bind((POD, 80))
        server.listen()
        server.settimeout(ARRIVES_WITHIN_S)
        caller.settimeout(ARRIVES_WITHIN_S)
        caller.connect((HOST, 8080))
        accepted, peer = server.accept()
        accepted.close()
    assert peer[0] == "192.0.2.9"


@both_backends
def test_other_hosts_ports_are_left_alone(
    backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns
) -> None:
    """Packets that only pass through the host go where they were sent."""
    pod, host = make_netns(), runtime.host
    runtime.add(with_previous(portmap(TCP, backend=backend), attach(host, pod)), pod)
    outside.ip("route", "add", "10.1.0.0/24", "via", HOST)
    with (
        Server(outside, 8080, socket.SOCK_STREAM, "192.0.2.9") as server,
        client_in(pod, HOST, socket.SOCK_STREAM) as caller,
    ):
        caller.connect(("192.0.2.9", 8080))
        assert server.seen() == POD


@both_backends
def test_masq_all(backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns) -> None:
    pod, host = make_netns(), runtime.host
    config = with_previous(portmap(TCP, backend=backend, masqAll=True), attach(host, pod))
    runtime.add(config, pod)
    assert reach(outside, pod, HOST) == "10.1.0.1"
    assert runtime.call("CHECK", config, pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(host) == []


@both_backends
def test_one_address_of_the_host(
    backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns
) -> None:
    pod, host = make_netns(), runtime.host
    mappings = ({**TCP, "hostIP": HOST}, {**TCP, "hostIP": HOST_SIX})
    config = with_previous(portmap(*mappings, backend=backend), attach(host, pod))
    runtime.add(config, pod)
    assert reach(outside, pod, HOST) == "192.0.2.9"
    assert reach(outside, pod, HOST_SIX, address=POD_SIX) == "2001:db8::9"
    assert is_refused(host, "127.0.0.1")
    assert is_refused(pod, "10.1.0.1")
    assert runtime.call("CHECK", config, pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(host) == []


@both_backends
def test_one_address_of_the_host_goes_before_all(
    backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns
) -> None:
    pod, host = make_netns(), runtime.host
    mappings = ({**TCP, "containerPort": 81}, {**TCP, "hostIP": HOST})
    config = with_previous(portmap(*mappings, backend=backend), attach(host, pod))
    runtime.add(config, pod)
    assert reach(outside, pod, HOST) == "192.0.2.9"


@both_backends
def test_a_port_asked_for_twice(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    pod, host = make_netns(), runtime.host
    result = attach(host, pod)
    twice = portmap(TCP, {**TCP, "containerPort": 81}, backend=backend)
    assert runtime.call("ADD", with_previous(twice, result), pod).code == INVALID_CONFIG
    assert traces(host) == []
    # The original would have published the first.
    runtime.add(with_previous(portmap(TCP, backend=backend), result), pod)
    assert runtime.call("DEL", twice, pod).code == 0
    assert traces(host) == []


CONDITIONS: Final = {
    "iptables": ["!", "-s", "192.0.2.9"],
    "nftables": ["ip", "saddr", "!=", "{ 192.0.2.9, 192.0.2.10 }"],
}


@both_backends
def test_conditions(backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns) -> None:
    pod, host = make_netns(), runtime.host
    keys = {"backend": backend, "conditionsV4": CONDITIONS[backend]}
    config = with_previous(portmap(TCP, **keys), attach(host, pod))
    runtime.add(config, pod)
    assert runtime.call("CHECK", config, pod).code == 0
    assert is_refused(outside, HOST)
    assert reach(host, pod, "127.0.0.1") == "10.1.0.1"
    assert reach(outside, pod, HOST_SIX, address=POD_SIX) == "2001:db8::9"
    before = rules(host)
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(host) == []
    runtime.add(config, pod)
    assert rules(host) == before


@both_backends
def test_conditions_that_are_refused_leave_nothing(
    backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    pod, host = make_netns(), runtime.host
    words = {"iptables": ["-m", "nonesuch"], "nftables": ["nonesuch", "1"]}[backend]
    config = with_previous(portmap(TCP, backend=backend, conditionsV4=words), attach(host, pod))
    code = runtime.call("ADD", config, pod).code
    assert code == {"iptables": IO_FAILURE, "nftables": INVALID_CONFIG}[backend]
    assert traces(host) == []


@both_backends
def test_udp_goes_on_to_the_new_container(
    backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns
) -> None:
    """A client that never stops sending: to nobody, to one container, to the next one."""
    host, pods = runtime.host, [make_netns() for _ in range(2)]
    results = [attach(host, pod, number) for number, pod in enumerate(pods, 5)]
    configs = [with_previous(portmap(UDP, backend=backend), result) for result in results]
    # Connections are tracked where there are rules that need it.
    other = with_previous(portmap(TCP, backend=backend), results[0])
    runtime.add(other, pods[0], container_id="other")
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(pod, 53, socket.SOCK_DGRAM, f"10.1.0.{number}"))
            for number, pod in enumerate(pods, 5)
        ]
        caller = stack.enter_context(client_in(outside, HOST, socket.SOCK_DGRAM))
        caller.bind(("192.0.2.9", 4000))
        caller.sendto(b"hello", (HOST, 8053))
        wait_for_connection(host)
        for number, config in enumerate(configs):
            runtime.add(config, pods[number], container_id=f"c{number}")
            caller.sendto(b"hello", (HOST, 8053))
            assert servers[number].seen() == "192.0.2.9"
            assert caller.recv(10) == b"hello"
            assert runtime.call("DEL", config, pods[number], container_id=f"c{number}").code == 0


def wait_for_connection(host: Netns) -> None:
    """Return when the first datagram has been seen by the host; sending is synchronous."""
    listed = host.exec("conntrack", "-L", "-p", "udp")
    assert "dport=8053" in listed, listed


@both_backends
@pytest.mark.usefixtures("outside")
def test_udp_to_elsewhere_is_not_forgotten(
    backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    pod, host = make_netns(), runtime.host
    config = with_previous(portmap(UDP, backend=backend), attach(host, pod))
    runtime.add(config, pod)
    with client_in(pod, HOST, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"hello", ("192.0.2.9", 8053))
        wait_for_connection(host)
        assert runtime.call("DEL", config, pod).code == 0
        wait_for_connection(host)


@both_backends
def test_the_last_one_has_the_port(
    backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns
) -> None:
    host, pods = runtime.host, [make_netns() for _ in range(2)]
    results = [attach(host, pod, number) for number, pod in enumerate(pods, 5)]
    configs = [with_previous(portmap(TCP, backend=backend), result) for result in results]
    first, second = (
        runtime.call("ADD", config, pod, container_id=f"c{n}")
        for n, (config, pod) in enumerate(zip(configs, pods, strict=True))
    )
    assert (first.code, first.stderr) == (0, "")
    assert second.code == 0
    assert "8080/tcp" in second.stderr
    assert "c0" in second.stderr
    assert reach(outside, pods[1], HOST, address="10.1.0.6") == "192.0.2.9"
    # Published again by the same container: no conflict.
    assert runtime.call("ADD", configs[1], pods[1], container_id="c2").stderr
    assert runtime.call("DEL", configs[1], pods[1], container_id="c2").code == 0
    assert runtime.call("DEL", configs[1], pods[1], container_id="c1").code == 0
    assert reach(outside, pods[0], HOST) == "192.0.2.9"


@both_backends
def test_another_address_of_the_host_is_no_conflict(
    backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    host, pods = runtime.host, [make_netns() for _ in range(2)]
    results = [attach(host, pod, number) for number, pod in enumerate(pods, 5)]
    for number, address in enumerate((HOST, "192.0.2.2")):
        mapping = {**TCP, "hostIP": address}
        config = with_previous(portmap(mapping, backend=backend), results[number])
        outcome = runtime.call("ADD", config, pods[number], container_id=f"c{number}")
        assert (outcome.code, outcome.stderr) == (0, "")


@both_backends
def test_a_second_add_replaces_the_address(
    backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns
) -> None:
    """The container was started anew with another address, and nobody called DEL."""
    pod, host = make_netns(), runtime.host
    stale = result_of(pod.path, 77)
    result = attach(host, pod)
    runtime.add(with_previous(portmap(TCP, backend=backend), stale), pod)
    config = with_previous(portmap(TCP, backend=backend), result)
    for _ in range(2):
        runtime.add(config, pod)
        assert reach(outside, pod, HOST) == "192.0.2.9"
    assert "10.1.0.77" not in rules(host).replace("masquerade", "")
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(host) == []


BREAKAGES: Final = {
    "iptables": (
        "iptables -t nat -F PREROUTING",
        "iptables -t nat -F OUTPUT",
        "iptables -t nat -F POSTROUTING",
        "iptables -t nat -F CNI-HOSTPORT-DNAT",
        "iptables -t nat -F CNI-HOSTPORT-SETMARK",
        "iptables -t nat -F CNI-HOSTPORT-MASQ",
        "iptables -t nat -D CNI-DN-{} 1",
        "iptables -t nat -D CNI-DN-{} 3",
        "ip6tables -t nat -F CNI-DN-{}",
        "nft flush ruleset",
    ),
    "nftables": (
        "nft flush chain ip cni_hostport prerouting",
        "nft flush chain ip cni_hostport output",
        "nft flush chain ip cni_hostport hostports",
        "nft flush chain ip cni_hostport hostports_all",
        "nft flush chain ip6 cni_hostport hostports",
        "nft flush chain ip6 cni_hostport masquerading",
        "nft flush ruleset",
    ),
}


@both_backends
def test_check_notices(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    pod, host = make_netns(), runtime.host
    config = with_previous(portmap(TCP, UDP, backend=backend), attach(host, pod))
    for breakage in BREAKAGES[backend]:
        runtime.add(config, pod)
        assert runtime.call("CHECK", config, pod).code == 0
        own = re.findall(r"CNI-DN-([0-9a-f]+)", rules(host))
        host.exec(*breakage.format(*own[:1] or [""]).split())
        assert runtime.call("CHECK", config, pod).code == CHECK_FAILED, breakage
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(host) == []


@both_backends
def test_check_notices_a_wrong_target(
    backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    pod, host = make_netns(), runtime.host
    result = attach(host, pod)
    runtime.add(with_previous(portmap(TCP, backend=backend), result_of(pod.path, 77)), pod)
    config = with_previous(portmap(TCP, backend=backend), result)
    assert runtime.call("CHECK", config, pod).code == CHECK_FAILED


@pytest.mark.parametrize("told", ["everything", "no prevResult", "no ports", "nothing"])
@both_backends
def test_del_needs_little(backend: str, told: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    """Also when another back end is configured by then, and the namespace is gone."""
    pod, host = make_netns(), runtime.host
    result = attach(host, pod)
    config = portmap(TCP, UDP, backend=backend)
    runtime.add(with_previous(config, result), pod)
    other = BACKENDS[BACKENDS.index(backend) - 1]
    config = {**config, "backend": other}
    if told in {"no ports", "nothing"}:
        config["runtimeConfig"] = {}
    if told in {"everything", "no ports"}:
        config = with_previous(config, result)
    for _ in range(2):
        assert runtime.call("DEL", config, "").code == 0
        assert traces(host) == []


@both_backends
def test_two_interfaces_of_one_container(
    backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns
) -> None:
    """In the same network, with the same ports: each takes back its own."""
    pod, host = make_netns(), runtime.host
    first = attach(host, pod)
    second = result_of(pod.path, 6)
    second["interfaces"][1]["name"] = "net1"
    mappings = ({**TCP, "hostPort": 8081}, TCP)
    configs = [
        with_previous(portmap(mapping, backend=backend), result)
        for mapping, result in zip(mappings, (second, first), strict=True)
    ]
    runtime.add(configs[1], pod)
    runtime.add(configs[0], pod, ifname="net1")
    for _ in range(2):
        assert runtime.call("DEL", configs[0], pod, ifname="net1").code == 0
        assert "10.1.0.6" not in rules(host)
        assert reach(outside, pod, HOST) == "192.0.2.9"
    assert runtime.call("DEL", configs[1], pod).code == 0
    assert traces(host) == []


@both_backends
def test_status_of_published_ports(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host = runtime.host
    pod = make_netns()
    config = with_previous(portmap(TCP, backend=backend), attach(host, pod))
    assert runtime.call("STATUS", config).code == 0
    runtime.add(config, pod)
    assert runtime.call("STATUS", config).code == 0
    table, chain = (
        ("nat", "PREROUTING") if backend == "iptables" else ("cni_hostport", "prerouting")
    )
    host.exec("nft", "flush", "chain", "ip", table, chain)
    assert runtime.call("STATUS", config).code == LIMITED_CONNECTIVITY
    assert runtime.call("STATUS", {**config, "name": "other"}).code == 0
    assert runtime.call("DEL", config, "").code == 0
    assert runtime.call("STATUS", config).code == 0


@both_backends
def test_gc(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host, pod = runtime.host, make_netns()
    result = attach(host, pod)
    config = portmap(TCP, UDP, backend=backend)
    for container in ("c0", "c1"):
        runtime.add(with_previous(config, result), pod, container_id=container)
    stranger = {**config, "name": "other"}
    runtime.add(with_previous(stranger, result), pod, container_id="c9")
    valid = {"cni.dev/valid-attachments": [{"containerID": "c0", "ifname": "eth0"}]}
    for _ in range(2):
        assert runtime.call("GC", {**config, **valid}).code == 0
        assert_checked = with_previous(config, result)
        assert runtime.call("CHECK", assert_checked, pod, container_id="c0").code == 0
        told = with_previous(stranger, result)
        assert runtime.call("CHECK", told, pod, container_id="c9").code == 0
        if backend == "nftables":
            assert traces(host, "c1") == []
        else:
            chains = set(re.findall(r"chain (CNI-DN-\w+)", rules(host)))
            assert len(chains) == 2
    for each in (config, stranger):
        assert runtime.call("GC", {**each, "cni.dev/valid-attachments": []}).code == 0
    assert [line for container in ("c0", "c1", "c9") for line in traces(host, container)] == []


def test_gc_takes_chains_that_nobody_uses(runtime: Runtime) -> None:
    """An iptables that was killed between chain and entry."""
    host = runtime.host
    host.exec("iptables", "-t", "nat", "-N", "CNI-DN-0123456789abcdef01234")
    assert runtime.call("GC", {**portmap(), "cni.dev/valid-attachments": []}).code == 0
    assert traces(host) == []


def test_del_takes_the_chains_of_old_versions(runtime: Runtime) -> None:
    """Before 0.8 the reference plugin had a chain for masquerading as well."""
    host = runtime.host
    result = result_of("/run/netns/none")
    runtime.call("ADD", with_previous(portmap(), result), "/run/netns/none")
    own = re.findall(r"chain CNI-DN-(\w+)", rules(host))[0]
    for words in (
        ["-N", f"CNI-SN-{own}"],
        ["-N", "CNI-HOSTPORT-SNAT"],
        ["-A", "CNI-HOSTPORT-SNAT", "-s", "127.0.0.1", "-j", f"CNI-SN-{own}"],
        ["-A", f"CNI-SN-{own}", "-j", "MASQUERADE"],
    ):
        host.exec("iptables", "-t", "nat", *words)
    assert runtime.call("DEL", portmap(), "").code == 0
    assert "CNI-SN-" not in rules(host)
    assert traces(host) == []


@both_backends
def test_many_at_once(backend: str, runtime: Runtime) -> None:
    host, count = runtime.host, 8
    configs = [
        with_previous(
            portmap({**TCP, "hostPort": 8000 + n}, UDP, backend=backend),
            result_of(f"/run/netns/{n}", 10 + n),
        )
        for n in range(count)
    ]

    def call(command: str) -> set[int]:
        with ThreadPoolExecutor(count) as threads:
            outcomes = threads.map(
                lambda n: runtime.call(command, configs[n], "/x", container_id=f"c{n}"),
                range(count),
            )
            return {outcome.code for outcome in outcomes}

    assert call("ADD") == {0}
    assert call("CHECK") == {0}
    assert call("DEL") == {0}
    assert [line for n in range(count) for line in traces(host, f"c{n}")] == []


@both_backends
def test_the_same_container_at_once(backend: str, runtime: Runtime) -> None:
    config = with_previous(portmap(backend=backend), result_of("/x"))
    with ThreadPoolExecutor(4) as threads:
        codes = {
            each.code for each in threads.map(lambda _: runtime.call("ADD", config, "/x"), "12")
        }
        assert codes == {0}
        codes = {
            each.code for each in threads.map(lambda _: runtime.call("DEL", config, "/x"), "1234")
        }
        assert codes == {0}
    assert traces(runtime.host) == []


# DEL is the same for both: it looks in both.
@pytest.mark.parametrize(
    ("command", "backend"), [("ADD", "iptables"), ("ADD", "nftables"), ("DEL", "iptables")]
)
def test_killed_at_any_point(
    command: str, backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    pod = make_netns()
    ptp = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24"))
    plugins = (ptp, portmap(TCP, UDP, backend=backend))
    kill_everywhere(Victim(runtime, pod, plugins, number=1), command)


def test_the_legacy_kind(
    runtime: Runtime, make_netns: MakeNetns, outside: Netns, legacy_path: Document
) -> None:
    """A system whose iptables is legacy; DEL by a plugin of a system of the nft kind."""
    pod, host = make_netns(), runtime.host
    stale = with_previous(portmap(), result_of(pod.path, 77))
    config = with_previous(portmap(conditionsV4=["!", "-d", "192.0.2.7"]), attach(host, pod))
    runtime.add(stale, pod, **legacy_path)
    for _ in range(2):
        runtime.add(config, pod, **legacy_path)
        assert runtime.call("CHECK", config, pod, **legacy_path).code == 0
        assert reach(outside, pod, HOST) == "192.0.2.9"
    assert "CNI" not in rules(host), "nothing of the nft kind"

    def legacy() -> str:
        programs = ("iptables-legacy-save", "ip6tables-legacy-save")
        return "".join(host.exec(program, "-t", "nat") for program in programs)

    assert "CNI-DN-" in legacy()
    host.exec("iptables-legacy", "-t", "nat", "-F", "CNI-HOSTPORT-MASQ")
    assert runtime.call("CHECK", config, pod, **legacy_path).code == CHECK_FAILED
    assert runtime.call("DEL", config, pod).code == 0
    assert "CNI-DN-" not in legacy()
    runtime.add(config, pod, **legacy_path)
    assert runtime.call("GC", {**portmap(), "cni.dev/valid-attachments": []}).code == 0
    assert "CNI-DN-" not in legacy()


GONE: dict[str, Callable[[Netns], object]] = {
    "table": lambda host: host.exec("nft", "flush", "ruleset"),
    "entries": lambda host: host.exec("iptables", "-t", "nat", "-F", "CNI-HOSTPORT-DNAT"),
    "bridge": lambda host: host.ip("link", "del", "br0"),
}


@pytest.mark.parametrize("gone", GONE)
def test_del_when_something_is_gone(gone: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    pod, host = make_netns(), runtime.host
    config = with_previous(portmap(TCP, UDP), attach(host, pod))
    runtime.add(config, pod)
    GONE[gone](host)
    assert runtime.call("DEL", config, "").code == 0
    assert traces(host) == []


def test_no_ports_no_rules(runtime: Runtime) -> None:
    config = with_previous(config_of("portmap"), result_of("/x"))
    assert runtime.add(config, "/x") == config["prevResult"]  # type: ignore[arg-type]
    assert rules(runtime.host) == ""
    assert runtime.call("CHECK", config, "/x").code == 0
    assert runtime.call("DEL", config, "").code == 0


def test_a_container_that_the_host_does_not_reach(runtime: Runtime) -> None:
    """No route to it, hence no device to let 127.0.0.1 out by: published all the same."""
    runtime.add(with_previous(portmap(), result_of("/x")), "/x")  # type: ignore[arg-type]
    assert traces(runtime.host)


def test_without_prev_result(runtime: Runtime) -> None:
    for command in ("ADD", "CHECK"):
        assert runtime.call(command, portmap(), "/x").code == INVALID_CONFIG
    assert runtime.call("STATUS", portmap()).code == 0
    assert rules(runtime.host) == ""


def test_the_example_of_the_manual(runtime: Runtime, make_netns: MakeNetns, outside: Netns) -> None:
    text = MANUAL.read_text(encoding="utf-8")
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    pod, host = make_netns(), runtime.host
    config = with_previous(example, attach(host, pod))
    runtime.add(config, pod)
    assert reach(outside, pod, HOST) == "192.0.2.9"
    assert reach(host, pod, "127.0.0.1") == "10.1.0.1"
    assert runtime.call("CHECK", config, pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(host) == []
