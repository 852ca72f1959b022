"""The ``tuning`` executable, and the same configuration through the original."""

import json
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    config_of,
    link_of,
    with_previous,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import needs_original
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE

MAC = "02:00:00:00:00:0a"
EVERYTHING = {
    "sysctl": {
        "net.ipv4.conf.IFNAME.arp_filter": "1",
        "net/ipv4/conf/all/log_martians": "1",
        "net.ipv4.ping_group_range": "0  77",
    },
    "mac": MAC,
    "mtu": 1400,
    "promisc": True,
    "allmulti": True,
    "txQLen": 77,
}


@pytest.fixture
def pod(make_netns: MakeNetns) -> Netns:
    """Return a container's namespace, with an interface."""
    return with_interface(make_netns())


def with_interface(netns: Netns, ifname: str = "eth0") -> Netns:
    netns.ip("link", "add", ifname, "type", "veth", "peer", "name", f"{ifname}-peer"[-15:])
    netns.ip("link", "set", ifname, "up")
    return netns


def tuning(runtime: Runtime, **keys: Any) -> Document:
    return config_of("tuning", **{"dataDir": str(runtime.directory / "tuning"), **keys})


def previous_of(pod: Netns, **keys: Any) -> Document:
    link = link_of(pod, "eth0")
    interface = {"name": "eth0", "mac": link["address"], "mtu": 1500, "sandbox": pod.path}
    return {"cniVersion": "1.1.0", "interfaces": [interface], **keys}


def properties(netns: Netns, ifname: str = "eth0") -> Document:
    link = link_of(netns, ifname)
    flags = {flag: flag in link["flags"] for flag in ("PROMISC", "ALLMULTI", "UP")}
    return {"mac": link["address"], "mtu": link["mtu"], "txqlen": link["txqlen"], **flags}


def files(runtime: Runtime) -> set[str]:
    return {path.name for path in (runtime.directory / "tuning").glob("*")}


def sysctl(netns: Netns, key: str) -> str:
    return netns.exec("sysctl", "-n", key).strip()


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    before, previous = properties(pod), previous_of(pod)
    config = tuning(runtime, **EVERYTHING)
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(with_previous(config, previous), pod)
    (interface,) = previous["interfaces"]
    assert result == {**previous, "interfaces": [{**interface, "mac": MAC, "mtu": 1400}]}
    assert properties(pod) == {
        "mac": MAC,
        "mtu": 1400,
        "txqlen": 77,
        "PROMISC": True,
        "ALLMULTI": True,
        "UP": True,
    }
    assert sysctl(pod, "net.ipv4.conf.eth0.arp_filter") == "1"
    assert sysctl(pod, "net.ipv4.conf.all.log_martians") == "1"
    assert sysctl(runtime.host, "net.ipv4.conf.all.log_martians") == "0"
    assert files(runtime) == {"c1_eth0.json"}
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert properties(pod) == before
        assert files(runtime) == set()


@pytest.mark.parametrize(
    "damage",
    [
        "ip link set eth0 address 02:00:00:00:00:0b",
        "ip link set eth0 mtu 1401",
        "ip link set eth0 promisc off",
        "ip link set eth0 allmulticast off",
        "ip link set eth0 txqueuelen 78",
        "ip link del eth0",
        "sysctl -w net.ipv4.conf.eth0.arp_filter=0",
        "sysctl -w net.ipv4.ping_group_range='0 78'",
    ],
)
def test_check_sees(runtime: Runtime, pod: Netns, damage: str) -> None:
    config = tuning(runtime, **EVERYTHING)
    result = runtime.add(with_previous(config, previous_of(pod)), pod)
    pod.exec("sh", "-ec", damage)
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    assert runtime.call("DEL", checked, pod).code == 0
    assert files(runtime) == set()


def test_what_is_not_configured_is_not_compared(runtime: Runtime, pod: Netns) -> None:
    config = tuning(runtime, allmulti=False)
    result = runtime.add(with_previous(config, previous_of(pod)), pod)
    pod.ip("link", "set", "eth0", "promisc", "on", "mtu", "1300")
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0


def test_who_has_the_last_word(runtime: Runtime, pod: Netns) -> None:
    previous = previous_of(pod)

    def mac(config: Document, args: str = "") -> str:
        told = with_previous(tuning(runtime, **config), previous)
        found: str = runtime.add(told, pod, args=args)["interfaces"][0]["mac"]
        assert found == properties(pod)["mac"]
        return found

    names = [f"02:00:00:00:00:0{n}" for n in range(4)]
    own, runtime_config = {"mac": names[0]}, {"runtimeConfig": {"mac": names[2]}}
    orders = {
        "args": {"cni": {"mac": names[3], "mtu": 1300, "sysctl": {"net.ipv4.ip_forward": "1"}}}
    }
    assert mac(own) == names[0]
    assert mac(own, f"MAC={names[1]}") == names[1]
    assert mac({**own, **runtime_config}, f"IgnoreUnknown=1;MAC={names[1]};X=1") == names[2]
    config = {
        **own,
        **runtime_config,
        **orders,
        "mtu": 1400,
        "sysctl": {"net.ipv4.ip_forward": "0"},
    }
    assert mac(config) == names[3]
    assert properties(pod)["mtu"] == 1300
    assert sysctl(pod, "net.ipv4.ip_forward") == "1"


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        pytest.param({"sysctl": {"net.ipv4.no_such": "1"}}, IO_FAILURE, id="no such sysctl"),
        pytest.param({"sysctl": {"net.ipv4.ip_forward": "x"}}, IO_FAILURE, id="no such value"),
        pytest.param({"sysctl": {"kernel.hostname": "x"}}, INVALID_CONFIG, id="not the network's"),
        pytest.param({"mtu": 1501, "mac": MAC}, IO_FAILURE, id="larger than what it stands on"),
    ],
)
def test_a_failed_add_leaves_nothing(
    runtime: Runtime, pod: Netns, keys: Document, code: int
) -> None:
    pod.ip("link", "set", "eth0", "name", "low")
    pod.ip("link", "add", "eth0", "link", "low", "type", "macvlan")
    before = properties(pod)
    first = {"net.ipv4.conf.all.log_martians": "1", **keys.get("sysctl", {})}
    config = tuning(runtime, **{"txQLen": 5, "promisc": True, **keys, "sysctl": first})
    outcome = runtime.call("ADD", with_previous(config, previous_of(pod)), pod)
    assert outcome.code == code, outcome
    assert properties(pod) == before
    assert sysctl(pod, "net.ipv4.conf.all.log_martians") == "0"
    assert files(runtime) == set()


def test_an_empty_value_empties_a_list(runtime: Runtime, pod: Netns) -> None:
    pod.exec("sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=8080")
    config = tuning(runtime, sysctl={"net.ipv4.ip_local_reserved_ports": ""})
    told = with_previous(config, runtime.add(with_previous(config, previous_of(pod)), pod))
    assert sysctl(pod, "net.ipv4.ip_local_reserved_ports") == ""
    assert runtime.call("CHECK", told, pod).code == 0
    # Where an empty text is no value, it is refused, not passed over.
    config = tuning(runtime, sysctl={"net.ipv4.ip_forward": ""})
    assert runtime.call("ADD", with_previous(config, previous_of(pod)), pod).code == IO_FAILURE


def test_no_interface(runtime: Runtime, make_netns: MakeNetns) -> None:
    pod, config = make_netns(), tuning(runtime, mtu=1400)
    previous = {"cniVersion": "1.1.0", "interfaces": []}
    assert runtime.call("ADD", with_previous(config, previous), pod).code == IO_FAILURE
    assert runtime.call("ADD", config, pod).code == INVALID_CONFIG
    assert files(runtime) == set()


def test_del_of_what_is_gone(runtime: Runtime, pod: Netns) -> None:
    config = tuning(runtime, **EVERYTHING)
    for netns in ("", "/nothing/there", pod):
        runtime.add(with_previous(config, previous_of(pod)), pod)
        if netns is pod:
            pod.ip("link", "del", "eth0")
        assert runtime.call("DEL", config, netns).code == 0
        assert files(runtime) == set()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"mtu":"x"}', '{"mac":7}', "\x00" * 9])
def test_torn_files(runtime: Runtime, pod: Netns, content: str) -> None:
    directory = runtime.directory / "tuning"
    directory.mkdir()
    (directory / "c1_eth0.json").write_text(content)
    config = tuning(runtime, mtu=1400)
    assert runtime.call("DEL", config, pod).code == 0
    assert files(runtime) == set()
    (directory / "c1_eth0.json").write_text(content)
    runtime.add(with_previous(config, previous_of(pod)), pod)
    assert runtime.call("DEL", config, pod).code == 0
    assert properties(pod)["mtu"] == 1500


def test_what_the_kernel_does_not_take_back_is_told(runtime: Runtime, pod: Netns) -> None:
    config = tuning(runtime, mtu=1400)
    runtime.add(with_previous(config, previous_of(pod)), pod)
    path = runtime.directory / "tuning" / "c1_eth0.json"
    path.write_text(path.read_text().replace("1500", "70000"))
    outcome = runtime.call("DEL", config, pod)
    assert outcome.code == 0
    assert "eth0" in outcome.stderr
    assert files(runtime) == set()


def test_twice_in_a_list(runtime: Runtime, pod: Netns) -> None:
    before = properties(pod)
    configs = [tuning(runtime, mtu=1400), tuning(runtime, mac=MAC), tuning(runtime, mtu=1300)]
    result = previous_of(pod)
    for config in configs:
        result = runtime.add(with_previous(config, result), pod)
    assert result["interfaces"][0] | {"mac": MAC, "mtu": 1300} == result["interfaces"][0]
    for config in reversed(configs):
        assert runtime.call("DEL", with_previous(config, result), pod).code == 0
    assert properties(pod) == before


def test_names_that_run_together(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = tuning(runtime, mtu=1400)
    pods = {("a_b", "c"): make_netns(), ("a", "b_c"): make_netns()}
    for (container_id, ifname), pod in pods.items():
        with_interface(pod, ifname)
        told: dict[str, Any] = {"container_id": container_id, "ifname": ifname}
        previous = {"cniVersion": "1.1.0", "interfaces": [{"name": ifname, "sandbox": pod.path}]}
        runtime.add(with_previous(config, previous), pod, **told)
    assert len(files(runtime)) == 2
    for (container_id, ifname), pod in pods.items():
        told = {"container_id": container_id, "ifname": ifname}
        assert runtime.call("DEL", config, pod, **told).code == 0
        assert properties(pod, ifname)["mtu"] == 1500
    assert files(runtime) == set()


def test_gc(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = tuning(runtime, mtu=1400)
    for name in ("net", "other"):
        for n in range(3):
            pod = with_interface(make_netns())
            told = {**with_previous(config, previous_of(pod)), "name": name}
            runtime.add(told, pod, container_id=f"{name}{n}")
    directory = runtime.directory / "tuning"
    (directory / "theirs_eth0.json").write_text('{"mtu":1500}')
    valid = [{"containerID": "net1", "ifname": "eth0"}, {"containerID": "net2", "ifname": "eth1"}]
    assert runtime.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
    others = {f"other{n}_eth0.json" for n in range(3)}
    assert files(runtime) == {"net1_eth0.json", "theirs_eth0.json", *others}


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(runtime: Runtime, make_netns: MakeNetns, command: str) -> None:
    pod = make_netns()
    ptp = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24"))
    (runtime.directory / "tuning").mkdir()
    plugins = (ptp, tuning(runtime, **EVERYTHING))
    kill_everywhere(Victim(runtime, pod, plugins, number=1), command)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_previous_results_of_every_version(runtime: Runtime, pod: Netns, version: str) -> None:
    ipam = runtime.ipam("10.1.0.0/24", "fd01::/64", routes=[{"dst": "0.0.0.0/0"}])
    pod.ip("link", "del", "eth0")
    made = {**config_of("ptp", ipam=ipam), "cniVersion": version}
    previous = runtime.add(made, pod)
    config = {**tuning(runtime, mac=MAC), "cniVersion": version}
    result = runtime.add(with_previous(config, previous), pod)
    for interface in previous.get("interfaces", ()):
        if interface.get("sandbox"):
            interface["mac"] = MAC
    assert result == previous


@needs_original
def test_as_the_original(runtime: Runtime, make_netns: MakeNetns) -> None:
    keys = {
        "sysctl": {"net.ipv4.conf.all.log_martians": "1"},
        "mac": MAC,
        "mtu": 1400,
        "promisc": True,
        "allmulti": True,
    }
    config = {**tuning(runtime, **keys), "cniVersion": "1.0.0"}
    seen = []
    for reference in (False, True):
        pod = with_interface(make_netns())
        before = properties(pod)
        previous = {**previous_of(pod), "cniVersion": "1.0.0"}
        result = runtime.add(with_previous(config, previous), pod, reference=reference)
        (interface,) = result["interfaces"]
        seen.append((interface["mac"], properties(pod)))
        noted = json.loads((runtime.directory / "tuning" / "c1_eth0.json").read_text())
        kept = {key: noted[key] for key in ("mac", "mtu", "promisc", "allmulti")}
        assert kept == {"mac": before["mac"], "mtu": 1500, "promisc": False, "allmulti": False}
        for checker in (False, True):
            checked = with_previous(config, result)
            assert runtime.call("CHECK", checked, pod, reference=checker).code == 0
        assert runtime.call("DEL", config, pod, reference=not reference).code == 0
        assert properties(pod) == before
        assert files(runtime) == set()
    assert seen[0] == seen[1]
