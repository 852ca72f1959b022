"""The ``portmap`` executable: who reaches a published port, by which address, and who does not."""

import socket
from contextlib import ExitStack
from typing import Final

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import Runtime, read_example, with_previous
from netns.plugins.published_ports import (
    ARRIVES_WITHIN_S,
    HOST,
    HOST_SIX,
    POD,
    POD_SIX,
    TCP,
    UDP,
    Server,
    attach,
    both_backends,
    client_in,
    is_refused,
    portmap,
    reach,
    result_of,
    rules,
    traces,
)
from podway.netlink import entered


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


def test_the_example_of_the_manual(runtime: Runtime, make_netns: MakeNetns, outside: Netns) -> None:
    pod, host = make_netns(), runtime.host
    config = with_previous(read_example("portmap"), attach(host, pod))
    runtime.add(config, pod)
    assert reach(outside, pod, HOST) == "192.0.2.9"
    assert reach(host, pod, "127.0.0.1") == "10.1.0.1"
    assert runtime.call("CHECK", config, pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(host) == []
