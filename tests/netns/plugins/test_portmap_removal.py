"""What DEL and GC of the ``portmap`` executable leave: nothing, whatever happened before."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import Runtime, config_of, with_previous
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.published_ports import (
    BACKENDS,
    HOST,
    TCP,
    UDP,
    attach,
    both_backends,
    portmap,
    reach,
    result_of,
    rules,
    traces,
)


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
    """In the same network, with the same ports: each takes back its own, and GC one without it."""
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
    valid = {"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}
    for command in ("DEL", "GC"):
        runtime.add(configs[0], pod, ifname="net1")
        for _ in range(2):
            assert runtime.call(command, {**configs[0], **valid}, pod, ifname="net1").code == 0
            assert "10.1.0.6" not in rules(host)
            assert reach(outside, pod, HOST) == "192.0.2.9"
    assert runtime.call("DEL", configs[1], pod).code == 0
    assert traces(host) == []


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
