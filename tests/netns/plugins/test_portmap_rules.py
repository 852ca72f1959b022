"""The ``portmap`` executable: the rules that it writes, with the original as witness, and CHECK."""

import re
from typing import Final

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, saved_table, with_previous
from netns.plugins.originals import each_first, needs_original
from netns.plugins.published_ports import (
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
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE, LIMITED_CONNECTIVITY

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
        found.append((told, saved_table(hosted.host, "nat"), localnet))
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
        (
            "nft flush chain ip cni_hostport hostports_all ; "
            "add rule ip cni_hostport hostports_all jump hostip_hostports"
        ),
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
