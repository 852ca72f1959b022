"""The ``macvlan`` executable, and the same configuration through the original."""

from collections.abc import Callable
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    devices,
    link_of,
    routes_of,
    state_of,
    with_previous,
)
from netns.plugins.originals import compare_main_plugins, needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INTERNAL,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    UNAVAILABLE,
)

pytestmark = pytest.mark.kernel("macvlan")

FOUR, SIX = "10.1.0.0/24", "fd01::/64"
MAC = "0a:00:00:00:00:01"


@pytest.fixture(autouse=True)
def _uplink(runtime: Runtime, up0: None) -> None:  # noqa: ARG001
    """Give the host a default route by that device."""
    runtime.host.ip("addr", "add", "192.0.2.2/24", "dev", "up0")
    runtime.host.ip("route", "add", "default", "via", "192.0.2.1")


def macvlan(runtime: Runtime, **keys: Any) -> Document:
    """Return a configuration with addresses of both families."""
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "2001:db8::/32", "gw": "fd01::9"}]
    ipam = runtime.ipam(FOUR, SIX, routes=routes)
    return config_of("macvlan", **{"master": "up0", "ipam": ipam, **keys})


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime, mode="private", mtu=1300, bcqueuelen=77, mac=MAC)
    result = runtime.add(config, pod)
    assert result["interfaces"] == [{"name": "eth0", "mac": MAC, "mtu": 1300, "sandbox": pod.path}]
    assert [ip["interface"] for ip in result["ips"]] == [0, 0]
    link = link_of(pod, "eth0")
    assert (link["mtu"], link["address"], link["operstate"]) == (1300, MAC, "UP")
    data = link["linkinfo"]["info_data"]
    assert (data["mode"], data["bcqueuelen"]) == ("private", 77)
    assert addresses_of(pod, "eth0") == {"10.1.0.2/24", "fd01::2/64"}
    assert [route["dst"] for route in routes_of(pod)] == [
        "default", "10.1.0.0/24", "2001:db8::/32", "fd01::/64",
    ]  # fmt: skip
    for path in ("net/ipv4/conf/eth0/arp_notify", "net/ipv6/conf/eth0/ndisc_notify"):
        assert pod.exec("cat", f"/proc/sys/{path}") == "1\n"

    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(pod) == set()
        assert runtime.reserved() == set()


def test_without_ipam_it_is_only_brought_up(runtime: Runtime, pod: Netns) -> None:
    config = config_of("macvlan", dns={"nameservers": ["192.0.2.53"]})
    result = runtime.add(config, pod)
    assert result["dns"] == {"nameservers": ["192.0.2.53"]}
    assert "ips" not in result
    link = link_of(pod, "eth0")
    assert (link["mtu"], link["operstate"]) == (1400, "UP")
    assert link["linkinfo"]["info_data"]["mode"] == "bridge"
    assert link["link_index"] == link_of(runtime.host, "up0")["ifindex"]
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    runtime.host.ip("route", "del", "default")  # its master stays what it was
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert devices(pod) == set()


def test_the_hosts_devices_of_the_same_name_stay_as_they_are(runtime: Runtime, pod: Netns) -> None:
    before = runtime.host.ip("-j", "link")
    runtime.add(macvlan(runtime), pod)
    assert devices(pod) == {"eth0"}
    assert runtime.host.ip("-j", "link") == before


def test_a_name_that_the_container_has_is_refused(runtime: Runtime, pod: Netns) -> None:
    runtime.add(macvlan(runtime), pod)
    before = pod.ip("-j", "addr")
    outcome = runtime.call("ADD", macvlan(runtime), pod, container_id="c2")
    assert outcome.code == IO_FAILURE
    assert "eth0" in outcome.msg
    assert pod.ip("-j", "addr") == before
    assert runtime.reserved() == {"10.1.0.2", "fd01::2"}


def test_two_attachments_of_one_container(runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime)
    results = {name: runtime.add(config, pod, ifname=name) for name in ("eth0", "net1")}
    assert runtime.call("DEL", config, pod, ifname="eth0").code == 0
    assert devices(pod) == {"net1"}
    checked = with_previous(config, results["net1"])
    assert runtime.call("CHECK", checked, pod, ifname="net1").code == 0
    assert len(runtime.reserved()) == 2


@pytest.mark.parametrize("reason", ["namespace", "name", "master"])
def test_del_when_things_are_gone(reason: str, runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime)
    result = runtime.add(config, pod)
    container = pod.path
    if reason == "namespace":
        container = "/run/netns/gone"
    elif reason == "name":
        container = ""
    else:
        runtime.host.ip("link", "delete", "up0")
    assert runtime.call("DEL", with_previous(config, result), container).code == 0
    assert runtime.reserved() == set()


def test_del_leaves_devices_of_another_kind(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer")
    assert runtime.call("DEL", macvlan(runtime), pod).code == 0
    assert devices(pod) == {"eth0", "peer"}


def test_an_add_that_fails_leaves_nothing(runtime: Runtime, pod: Netns) -> None:
    pod.exec("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    routes = [{"dst": "10.9.0.0/16", "gw": "172.16.0.1"}]  # nobody can reach that
    outcome = runtime.call("ADD", macvlan(runtime, ipam=runtime.ipam(FOUR, routes=routes)), pod)
    assert outcome.code == IO_FAILURE
    assert "10.9.0.0/16" in outcome.msg
    assert devices(pod) == set()
    assert runtime.reserved() == set()


def test_no_ipam_result_leaves_nothing(runtime: Runtime, pod: Netns) -> None:
    ipam = runtime.ipam("10.1.0.0/30")
    config = macvlan(runtime, ipam=ipam)
    (runtime.directory / "net").mkdir()
    (runtime.directory / "net" / "10.1.0.2").write_text("other\r\neth0")
    outcome = runtime.call("ADD", config, pod)
    assert outcome.code
    assert devices(pod) == set()
    assert runtime.reserved() == {"10.1.0.2"}


def test_a_result_that_the_version_cannot_say_leaves_nothing(runtime: Runtime, pod: Netns) -> None:
    config = {**config_of("macvlan"), "cniVersion": "0.2.0"}
    assert runtime.call("ADD", config, pod).code == INTERNAL
    assert devices(pod) == set()


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        pytest.param({"master": "none0"}, "master", id="no such master"),
        pytest.param({"dns": {"search": "a"}}, "dns.search", id="string for an array"),
    ],
)
def test_what_only_the_kernel_knows_is_refused(
    keys: Document, field: str, runtime: Runtime, pod: Netns
) -> None:
    outcome = runtime.call("ADD", macvlan(runtime, **keys), pod)
    assert outcome.code == INVALID_CONFIG
    assert outcome.msg.startswith(f"{field} = ")
    assert devices(pod) == set()
    assert runtime.reserved() == set()


def test_no_default_route_to_take_the_master_from(runtime: Runtime, pod: Netns) -> None:
    runtime.host.ip("route", "del", "default")
    config = config_of("macvlan")
    assert runtime.call("ADD", config, pod).code == INVALID_CONFIG
    assert runtime.call("STATUS", config).code == UNAVAILABLE


def test_the_default_route_of_ipv6_will_do(runtime: Runtime, pod: Netns) -> None:
    runtime.host.ip("route", "del", "default")
    runtime.host.ip("addr", "add", "2001:db8::2/64", "dev", "up0", "nodad")
    runtime.host.ip("-6", "route", "add", "default", "via", "2001:db8::1")
    runtime.add(config_of("macvlan"), pod)
    assert link_of(pod, "eth0")["link_index"] == link_of(runtime.host, "up0")["ifindex"]


def test_link_in_container_by_default_route(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "in0", "type", "veth", "peer", "name", "in1")
    pod.ip("link", "set", "in0", "up")
    pod.ip("route", "add", "default", "dev", "in0")
    runtime.add(config_of("macvlan", linkInContainer=True), pod)
    assert link_of(pod, "eth0")["link"] == "in0"


def test_a_macvlan_as_master(runtime: Runtime, pod: Netns) -> None:
    runtime.host.ip("link", "add", "mv0", "link", "up0", "type", "macvlan")
    config = macvlan(runtime, master="mv0")
    result = runtime.add(config, pod)
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0


@pytest.mark.parametrize(
    ("told", "args"),
    [
        pytest.param({"runtimeConfig": {"mac": MAC}}, "MAC=0a:00:00:00:00:09", id="runtimeConfig"),
        pytest.param({"args": {"cni": {"mac": MAC}}}, "MAC=0a:00:00:00:00:09", id="args.cni"),
        pytest.param({"mac": "0a:00:00:00:00:09"}, f"MAC={MAC}", id="CNI_ARGS"),
        pytest.param({"mac": MAC}, "K8S_POD_NAME=a", id="configuration"),
    ],
)
def test_sources_of_the_mac_address(
    told: Document, args: str, runtime: Runtime, pod: Netns
) -> None:
    result = runtime.add(macvlan(runtime, **told), pod, args=args)
    assert result["interfaces"][0]["mac"] == link_of(pod, "eth0")["address"] == MAC


def test_unknown_arguments(runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime)
    assert runtime.call("ADD", config, pod, args="COLOUR=red").code == INVALID_ENVIRONMENT
    assert runtime.call("ADD", config, pod, args="COLOUR=red;IgnoreUnknown=1").code == 0


def spoil_address(pod: Netns) -> None:
    pod.ip("addr", "del", "10.1.0.2/24", "dev", "eth0")


def spoil_route(pod: Netns) -> None:
    pod.ip("route", "del", "2001:db8::/32")


def spoil_mac(pod: Netns) -> None:
    pod.ip("link", "set", "eth0", "address", "0a:00:00:00:00:77")


def spoil_mtu(pod: Netns) -> None:
    pod.ip("link", "set", "eth0", "mtu", "1290")


def spoil_mode(pod: Netns) -> None:
    pod.ip("link", "set", "eth0", "type", "macvlan", "mode", "vepa")


def spoil_queue(pod: Netns) -> None:
    pod.ip("link", "set", "eth0", "type", "macvlan", "bcqueuelen", "78")


def spoil_link(pod: Netns) -> None:
    pod.ip("link", "delete", "eth0")


def spoil_kind(pod: Netns) -> None:
    pod.ip("link", "set", "eth0", "down")
    pod.ip("link", "set", "eth0", "name", "eth1")
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer")


def spoil_state(pod: Netns) -> None:
    pod.ip("link", "set", "eth0", "down")


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_address, spoil_route, spoil_mac, spoil_mtu, spoil_mode, spoil_link, spoil_kind,
        spoil_state, spoil_queue,
    ],
)  # fmt: skip
def test_check_notices(spoil: Callable[[Netns], None], runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime, bcqueuelen=77)
    checked = with_previous(config, runtime.add(config, pod))
    assert runtime.call("CHECK", checked, pod).code == 0
    spoil(pod)
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED


def test_check_notices_another_master(runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime)
    checked = with_previous(config, runtime.add(config, pod))
    assert runtime.call("CHECK", {**checked, "master": "eth0"}, pod).code == CHECK_FAILED
    assert runtime.call("CHECK", {**checked, "master": "none0"}, pod).code == CHECK_FAILED


def test_check_notices_a_reservation_that_is_gone(runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime)
    checked = with_previous(config, runtime.add(config, pod))
    for address in runtime.reserved():
        (runtime.directory / "net" / address).unlink()
    assert runtime.call("CHECK", checked, pod).code


@pytest.mark.parametrize(
    "previous",
    [
        pytest.param(None, id="absent"),
        pytest.param({"cniVersion": "1.1.0", "interfaces": []}, id="without the interface"),
    ],
)
def test_check_needs_the_result(previous: Document, runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime)
    runtime.add(config, pod)
    assert runtime.call("CHECK", with_previous(config, previous), pod).code == INVALID_CONFIG


def test_status_and_gc(runtime: Runtime, pod: Netns) -> None:
    config = macvlan(runtime)
    runtime.add(config, pod)
    assert runtime.call("STATUS", config).code == 0
    kept = {**config, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}
    assert runtime.call("GC", kept).code == 0
    assert runtime.reserved() == {"10.1.0.2", "fd01::2"}
    assert runtime.call("STATUS", {**config, "master": "none0"}).code == UNAVAILABLE


@needs_original
@pytest.mark.parametrize(
    ("version", "keys"),
    [
        pytest.param("0.2.0", {}, id="defaults"),
        pytest.param("0.3.1", {"mode": "vepa", "mtu": 1300}, id="mode and mtu"),
        pytest.param("0.4.0", {"ipam": {}, "dns": {"domain": "d"}}, id="no IPAM"),
        pytest.param("1.0.0", {"master": "", "dns": {"search": ["a"]}}, id="default route, dns"),
    ],
)
def test_as_the_original(
    version: str, keys: Document, runtime: Runtime, make_netns: MakeNetns
) -> None:
    config = {**macvlan(runtime, **keys), "cniVersion": version}
    compare_main_plugins(runtime, make_netns, config, lambda pod, _: state_of(pod, "eth0"))
