"""The ``sbr`` executable behind ``ptp`` and by itself, and the original beside it."""

import json
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    config_of,
    connect,
    devices,
    with_previous,
    without_waiting,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import needs_original
from netns.plugins.routing_tables import routes_in
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE

pytestmark = pytest.mark.usefixtures("up0")

ROUTES = [{"dst": "10.9.0.0/16"}, {"dst": "fd09::/16"}, {"dst": "::/0"}]


@pytest.fixture
def pod(make_netns: MakeNetns) -> Netns:
    """Return a container's namespace."""
    return without_waiting(make_netns())


def sbr(**keys: Any) -> Document:
    return config_of("sbr", **keys)


def macvlan(runtime: Runtime, **keys: Any) -> Document:
    """Return a configuration whose attachment has subnets, gateways and routes."""
    ipam = runtime.ipam("10.1.0.0/24", "fd01::/64", routes=ROUTES, **keys)
    return config_of("macvlan", master="up0", ipam=ipam)


def rules(netns: Netns) -> dict[str, str]:
    """Return the rules that look at the source: address -> table."""
    listed = [
        *json.loads(netns.ip("-j", "-4", "rule")),
        *json.loads(netns.ip("-j", "-6", "rule")),
    ]
    return {each["src"]: str(each["table"]) for each in listed if each["src"] != "all"}


LINK_LOCAL = ("fe80::/64", "", "eth0", "")


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = sbr()
    previous = runtime.add(macvlan(runtime), pod)
    before = routes_in(pod, "main")
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(with_previous(config, previous), pod)
    assert rules(pod) == {"10.1.0.2": "100", "fd01::2": "101"}
    assert routes_in(pod, "100") == {
        ("10.1.0.0/24", "", "eth0", "10.1.0.2"),
        ("10.9.0.0/16", "10.1.0.1", "eth0", ""),
        ("default", "10.1.0.1", "eth0", ""),
    }
    assert routes_in(pod, "101") == {
        LINK_LOCAL,
        ("fd01::/64", "", "eth0", ""),
        ("fd09::/16", "fd01::1", "eth0", ""),
        ("default", "fd01::1", "eth0", ""),
    }
    assert routes_in(pod, "main") == {LINK_LOCAL}
    assert before > {LINK_LOCAL}
    assert result == previous
    for plugin in (macvlan(runtime), config):
        assert runtime.call("CHECK", with_previous(plugin, result), pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", with_previous(config, result), pod).code == 0
        assert rules(pod) == {}
        assert routes_in(pod, "100") | routes_in(pod, "101") == set()
    assert runtime.call("DEL", macvlan(runtime), pod).code == 0


@pytest.mark.parametrize(
    "damage",
    [
        "ip rule del from 10.1.0.2",
        "ip -6 rule del from fd01::2",
        "ip route flush table 100",
        "ip route del default table 100",
        "ip -6 route del fd09::/16 table 101",
        "ip route add default via 10.1.0.1 dev eth0 onlink",
        "ip link del eth0",
    ],
)
def test_check_sees(runtime: Runtime, pod: Netns, damage: str) -> None:
    result = runtime.add(with_previous(sbr(), runtime.add(macvlan(runtime), pod)), pod)
    pod.exec("sh", "-ec", damage)
    checked = with_previous(sbr(), result)
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert rules(pod) == {}


def test_two_interfaces(runtime: Runtime, pod: Netns) -> None:
    results = {}
    for ifname in ("eth0", "eth1"):
        previous = runtime.add(macvlan(runtime), pod, ifname=ifname)
        results[ifname] = runtime.add(with_previous(sbr(), previous), pod, ifname=ifname)
    assert rules(pod) == {
        "10.1.0.2": "100",
        "fd01::2": "101",
        "10.1.0.3": "102",
        "fd01::3": "103",
    }
    assert runtime.call("DEL", with_previous(sbr(), results["eth0"]), pod, ifname="eth0").code == 0
    assert rules(pod) == {"10.1.0.3": "102", "fd01::3": "103"}
    checked = with_previous(sbr(), results["eth1"])
    assert runtime.call("CHECK", checked, pod, ifname="eth1").code == 0


def test_rules_of_others_stay(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(macvlan(runtime), pod)
    others = [
        "from 10.1.0.2 iif lo lookup 150",
        "from 10.1.0.2 fwmark 1 lookup 150",
        "from 10.1.0.0/24 lookup 150",
        "from 10.1.0.2 lookup main",
        "from 10.1.0.2 lookup 50",
        "from 10.7.0.7 lookup 150",
        "from 10.1.0.2 lookup 100",
    ]
    for other in others:
        pod.ip("rule", "add", *other.split())
    pod.ip("route", "add", "10.8.0.0/16", "dev", "lo", "table", "100")
    before = pod.ip("rule")
    result = runtime.add(with_previous(sbr(), previous), pod)
    assert rules(pod)["fd01::2"] == "102"
    assert runtime.call("DEL", with_previous(sbr(), result), pod).code == 0
    assert pod.ip("rule") == before


def test_a_table_of_somebody_elses(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(macvlan(runtime), pod)
    before = routes_in(pod, "main")
    config = sbr(table=5001)
    result = runtime.add(with_previous(config, previous), pod)
    assert result == previous
    assert rules(pod) == {"10.1.0.2": "5001", "fd01::2": "5001"}
    assert routes_in(pod, "main") == before
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    pod.ip("rule", "add", "from", "10.1.0.2", "lookup", "5002")
    assert runtime.call("DEL", with_previous(config, result), pod).code == 0
    assert rules(pod) == {"10.1.0.2": "5002"}


def test_gateways_of_the_configuration(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(macvlan(runtime), pod)
    config = sbr(gateways=["fd01::9", "10.1.0.9"])
    result = runtime.add(with_previous(config, previous), pod)
    assert ("default", "10.1.0.9", "eth0", "") in routes_in(pod, "100")
    assert {each for each in routes_in(pod, "101") if each[0] == "default"} == {
        ("default", "fd01::9", "eth0", "")
    }
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    pod.ip(
        "route", "replace", "default", "via", "10.1.0.8", "dev", "eth0", "table", "100", "onlink"
    )
    assert runtime.call("CHECK", with_previous(config, result), pod).code == CHECK_FAILED


def test_source_hints(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(macvlan(runtime), pod)
    config = sbr(addSourceHints=True)
    result = runtime.add(with_previous(config, previous), pod)
    assert routes_in(pod, "main") == {
        LINK_LOCAL,
        ("10.1.0.0/24", "", "eth0", "10.1.0.2"),
        ("fd01::/64", "", "eth0", "fd01::2"),
    }
    assert ("default", "fd01::1", "eth0", "") in routes_in(pod, "101")
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0


def test_a_failed_add_changes_nothing(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(macvlan(runtime), pod)
    before = (routes_in(pod, "main"), pod.ip("rule"), pod.ip("-6", "rule"))
    config = sbr(gateways=["192.0.2.1"], addSourceHints=True)  # not on the link
    assert runtime.call("ADD", with_previous(config, previous), pod).code == IO_FAILURE
    assert (routes_in(pod, "main"), pod.ip("rule"), pod.ip("-6", "rule")) == before
    assert routes_in(pod, "100") == set()


@pytest.mark.parametrize("missing", ["prevResult", "ips", "interface"])
def test_nothing_to_route_by(runtime: Runtime, pod: Netns, missing: str) -> None:
    previous = runtime.add(macvlan(runtime), pod)
    config = with_previous(sbr(), {**previous, "ips": []}) if missing == "ips" else sbr()
    code = INVALID_CONFIG
    if missing == "interface":
        pod.ip("link", "del", "eth0")
        config, code = with_previous(sbr(), previous), IO_FAILURE
    assert runtime.call("ADD", config, pod).code == code
    assert rules(pod) == {}


def test_del_without_namespace(runtime: Runtime) -> None:
    for netns in ("", "/nothing/there"):
        assert runtime.call("DEL", sbr(), netns).code == 0
    assert runtime.call("GC", {**sbr(), "cni.dev/valid-attachments": []}).code == 0


def test_answers_leave_by_the_interface_that_was_asked(
    runtime: Runtime, make_netns: MakeNetns, pod: Netns
) -> None:
    far = make_netns()
    ptp = config_of("ptp", ipam=runtime.ipam("10.2.0.0/24", routes=[{"dst": "0.0.0.0/0"}]))
    runtime.add(ptp, far, container_id="far")
    runtime.add(ptp, pod, ifname="eth0")
    second = {**ptp, "name": "second", "ipam": runtime.ipam("10.3.0.0/24")}
    previous = runtime.add(second, pod, ifname="eth1")

    def way() -> str:
        (route,) = json.loads(pod.ip("-j", "route", "get", "10.2.0.2", "from", "10.3.0.2"))
        return str(route["dev"])

    assert way() == "eth0"
    runtime.add({**with_previous(sbr(), previous), "name": "second"}, pod, ifname="eth1")
    assert way() == "eth1"
    assert connect(far, pod, "10.3.0.2") == "10.2.0.2"


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(runtime: Runtime, pod: Netns, command: str) -> None:
    def more() -> object:
        tables = [routes_in(pod, str(table)) for table in range(100, 104)]
        return rules(pod), tables, routes_in(pod, "main")

    victim = Victim(runtime, pod, (macvlan(runtime), sbr()), number=1, more=more)
    kill_everywhere(victim, command)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_previous_results_of_every_version(runtime: Runtime, pod: Netns, version: str) -> None:
    previous = runtime.add({**macvlan(runtime), "cniVersion": version}, pod)
    result = runtime.add({**with_previous(sbr(), previous), "cniVersion": version}, pod)
    assert rules(pod).keys() == {"10.1.0.2", "fd01::2"}
    assert result == previous


@needs_original
def test_as_the_original(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = {**sbr(), "cniVersion": "1.0.0"}
    seen = []
    for reference in (False, True):
        pod = without_waiting(make_netns())
        previous = runtime.add({**macvlan(runtime), "cniVersion": "1.0.0"}, pod)
        runtime.add(with_previous(config, previous), pod, reference=reference)
        tables = {table: routes_in(pod, table) - {LINK_LOCAL} for table in ("main", "100", "101")}
        # The original has IPv6 routes without gateway in the tables of IPv4 addresses, too.
        tables["100"] -= {("fd01::/64", "", "eth0", "")}
        seen.append((rules(pod), tables))
        assert runtime.call("CHECK", with_previous(config, previous), pod).code == 0
        assert runtime.call("DEL", config, pod, reference=not reference).code == 0
        assert rules(pod) == {}
        runtime.call("DEL", macvlan(runtime), pod)
        assert devices(pod) == set()
        for last in runtime.directory.glob("net/*"):
            last.unlink()
    assert seen[0] == seen[1]


def test_ways_that_the_kernel_shows_as_one(runtime: Runtime, pod: Netns) -> None:
    # IPv6 routes of several interfaces to one prefix are listed as a route with several ways.
    for ifname in ("eth0", "eth1", "eth2"):
        previous = runtime.add(macvlan(runtime), pod, ifname=ifname)
    before = pod.ip("-6", "route", "show", "default")
    assert before.count("nexthop") == 3
    runtime.add(with_previous(sbr(), previous), pod, ifname="eth2")
    assert pod.ip("-6", "route", "show", "default").count("nexthop") == 2
    assert ("default", "fd01::1", "eth2", "") in routes_in(pod, "101")
    assert ("fd09::/16", "fd01::1", "eth2", "") in routes_in(pod, "101")
