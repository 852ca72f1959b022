"""What holds for every plugin of the registry: its life from ADD to GC, in all versions of CNI.

One table for all (`cases.py`). What a plugin does is seen in its own tests; here, that it does it
whenever a runtime may ask for it, however often, and with whatever result before.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from netns.conftest import MakeNetns
from netns.plugins.cases import (
    CASES,
    CHANGES,
    SECOND_KERNEL,
    Caller,
    each_plugin,
    every_plugin,
    outside,
    prepare,
    state,
    told,
)
from netns.plugins.cni_runtime import Document, Runtime, with_previous
from netns.plugins.kills import Victim, kill_everywhere
from podway.cni.errors import (
    CHECK_FAILED,
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_NETNS,
    UNAVAILABLE,
)
from podway.cni.results import parse_result
from podway.cni.versions import ALL
from podway.plugins.registry import PLUGINS

# Where those are killed that have more to lose than an interface.
KILLED_ELSEWHERE: Final = {
    "bandwidth": "test_bandwidth_removal.py",
    "bridge": "test_bridge_removal.py",
    "dhcp": "dhcp/test_attachments.py",
    "firewall": "test_firewall_rules.py",
    "flannel": "test_flannel.py",
    "host-device": "test_host_device_return.py",
    "host-local": "test_ipam.py",
    "portmap": "test_portmap_removal.py",
    "ptp": "test_ptp.py",
    "sbr": "test_sbr.py",
    "tuning": "test_tuning.py",
    "vrf": "test_vrf.py",
}
KILLED_HERE: Final = [
    each for each in every_plugin(with_daemons=False) if each.id not in KILLED_ELSEWHERE
]
BEHIND_OTHERS: Final = [
    each
    for each in every_plugin(with_daemons=False)
    if CASES[each.id].needs_previous and not SECOND_KERNEL & set(CASES[each.id].features)
]


def test_every_plugin_has_a_case() -> None:
    assert set(CASES) == {plugin.name for plugin in PLUGINS}


@pytest.mark.parametrize("name", KILLED_ELSEWHERE.values())
def test_the_others_are_killed_too(name: str) -> None:
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    assert "def test_killed_at_any_point(" in text


@each_plugin(everywhere=True)
def test_a_whole_life(caller: Caller, before: Document) -> None:
    assert caller.call("STATUS").code == 0
    result = caller.add()
    attached = state(caller)
    checked = with_previous(caller.config, result)
    assert caller.call("CHECK", checked).stdout == b""
    caller.collect("c1", "c2")
    assert state(caller) == attached, "GC leaves the valid alone"
    assert caller.call("CHECK", checked).code == 0
    for _ in range(2):
        caller.delete(result)
        assert state(caller) == before
    for command in ("DEL", "GC", "STATUS"):
        attachments: Document = {"cni.dev/valid-attachments": []}
        assert caller.call(command, {**caller.config, **attachments}).stdout == b""


@each_plugin(everywhere=True)
def test_del_without_previous_result(caller: Caller, before: Document) -> None:
    caller.add()
    caller.delete()
    assert state(caller) == before


@each_plugin(everywhere=True)
@pytest.mark.parametrize("knows", [True, False], ids=["previous result", "no previous result"])
def test_del_when_the_namespace_is_gone(
    caller: Caller, before: Document, make_netns: MakeNetns, *, knows: bool
) -> None:
    """What is outside of the namespace goes, although somebody still has it open."""
    pod = make_netns()
    gone = replace(caller, pod=pod)
    result = gone.add()
    for config in reversed(caller.plugins):
        for path in ("/nonexistent", "", None):
            answer = gone.call("DEL", told(config, result if knows else None), CNI_NETNS=path)
            assert answer.code == 0, answer
    assert state(caller) == before


@each_plugin()
@pytest.mark.parametrize("knows", [True, False], ids=["previous result", "no previous result"])
def test_del_after_the_configuration_has_changed(
    caller: Caller, before: Document, *, knows: bool
) -> None:
    """What was made goes, whatever the configuration says by then; ADD's is not kept anywhere."""
    for change in CHANGES[caller.config["type"]]:
        added = caller.add()
        result = added if knows else None
        ipam = {**caller.config.get("ipam", {}), **change.get("ipam", {})}
        changed = {**caller.config, **change} | ({"ipam": ipam} if ipam else {})
        config = {key: value for key, value in changed.items() if value is not None}
        assert caller.call("DEL", told(config, result)).code == 0, change
        for each in reversed(caller.plugins[:-1]):
            assert caller.call("DEL", told(each, result)).code == 0
        assert state(caller) == before, change


@each_plugin(everywhere=True)
def test_gc_of_what_nobody_deleted(caller: Caller, before: Document, make_netns: MakeNetns) -> None:
    """GC alone takes away all that is outside of the container; DEL finds it so."""
    lost = replace(caller, pod=make_netns())
    lost.add()
    lost.collect("c2")
    assert outside(state(lost)) == outside(before)
    lost.delete()
    assert state(caller) == before


LIES: Final[dict[str, Any]] = {
    "garbage": {"cniVersion": "1.1.0", "interfaces": 7, "ips": "x"},
    "no such version": {"cniVersion": "9.9.9", "ips": [{"address": "10.1.0.2/24"}]},
    "nothing": {"cniVersion": "1.1.0"},
    "an interface that is not in the list": {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/other"}],
        "ips": [{"address": "10.1.0.99/24", "interface": 77}],
    },
    "devices of the host": {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "up0"}, {"name": "dev0"}, {"name": "lo"}],
        "ips": [{"address": "192.0.2.2/24", "gateway": "192.0.2.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}],
    },
    "hostile names": {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": name, "sandbox": sandbox, "mac": "x"}
            for name in ("../../x", "a\nb", 'a"b', "x" * 16, "é", "")
            for sandbox in ("", "/run/../x\n")
        ],
        "ips": [{"address": "10.1.0.2/24", "interface": n} for n in range(12)],
    },
    "an older version": {"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.2/24"}},
}


@each_plugin()
def test_a_lying_previous_result(caller: Caller, before: Document) -> None:
    """DEL takes away what is this attachment's all the same; ADD, if it refuses, leaves nothing."""
    case = CASES[caller.config["type"]]
    for lie in LIES.values():
        caller.add()
        checked = caller.call("CHECK", with_previous(caller.config, lie))
        assert checked.code in {0, CHECK_FAILED, INVALID_CONFIG, DECODING_FAILURE}, checked
        caller.delete(lie)
        assert state(caller) == before, lie
        if case.needs_previous:
            caller.add_before()
        added = caller.call("ADD", with_previous(caller.config, lie))
        if added.code:
            assert added.code in {5, DECODING_FAILURE, INVALID_CONFIG}, (added, lie)
        caller.delete(lie)
        assert state(caller) == before, lie


@each_plugin(on_any_kernel=True)
def test_an_add_without_what_it_needs_leaves_nothing(caller: Caller, before: Document) -> None:
    if CASES[caller.config["type"]].needs_previous:
        assert caller.call("ADD").code == INVALID_CONFIG
    for path in ("/nonexistent", "/etc/hostname"):
        answer = caller.call("ADD", CNI_NETNS=path)
        if answer.code == 0:  # IPAM alone: nothing of it is in the namespace
            caller.delete()
    assert state(caller) == before


@each_plugin(everywhere=True)
def test_add_twice(caller: Caller, before: Document) -> None:
    """A second ADD is refused, or changes nothing; in either case DEL leaves nothing."""
    previous = caller.add_before()
    answers = [caller.call("ADD", told(caller.config, previous)) for _ in range(2)]
    assert answers[0].code == 0
    assert answers[1].code in {0, 5, 7}, answers[1]
    if not answers[1].code:
        assert answers[1].document == answers[0].document
    checked = with_previous(caller.config, answers[0].document)
    assert caller.call("CHECK", checked).code == 0, "the first one's attachment is as it was"
    caller.delete(answers[0].document)
    assert state(caller) == before


@each_plugin(with_daemons=True, on_any_kernel=True)
def test_the_hosts_own_namespace_is_refused_untouched(caller: Caller, before: Document) -> None:
    own = caller.runtime.host
    for path in (own.path, "/proc/self/ns/net"):
        for command in ("ADD", "CHECK", "DEL"):
            answer = caller.call(command, CNI_NETNS=path)
            assert (answer.code, state(caller)) == (INVALID_NETNS, before), answer


def supported(plugin: str, caller: Caller) -> list[str]:
    versions: list[str] = caller.call("VERSION", b"").document["supportedVersions"]
    assert versions, plugin
    return versions


@each_plugin()
def test_every_version(caller: Caller, before: Document) -> None:
    """Results are of the configuration's version; commands that it does not have are refused."""
    versions = supported(caller.config["type"], caller)
    assert versions == list(ALL)
    for version in versions:
        result = caller.add(version)
        assert result["cniVersion"] == version
        _check_shape(result, version)
        checked = told(caller.config, result, version)
        has_check, has_gc = ALL.index(version) >= 4, ALL.index(version) >= 6
        attachments = {"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}
        assert caller.call("CHECK", checked).code == (0 if has_check else INCOMPATIBLE_VERSION)
        for command in ("GC", "STATUS"):
            answer = caller.call(command, {**told(caller.config, None, version), **attachments})
            # host-device: the one device there is is away.
            codes = {0, UNAVAILABLE} if has_gc else {INCOMPATIBLE_VERSION}
            assert answer.code in codes, (version, command)
        caller.delete(result, version)
        assert state(caller) == before, version


def _check_shape(result: Document, version: str) -> None:
    """See that a result is one of its version, and says nothing that came later."""
    old = ALL.index(version) < ALL.index("0.3.0")
    assert set(result) <= (
        {"cniVersion", "ip4", "ip6", "dns"}
        if old
        else {"cniVersion", "interfaces", "ips", "routes", "dns"}
    )
    parse_result(result)
    if old:
        return
    for ip in result.get("ips", ()):
        assert ("version" in ip) is (version < "1.0.0")
    if version < "1.1.0":
        for interface in result.get("interfaces", ()):
            assert not {"socketPath", "pciID"} & set(interface)
    else:
        for interface in result.get("interfaces", ()):
            if interface["name"] != "lo":
                assert interface["mtu"]


@pytest.mark.parametrize("caller", BEHIND_OTHERS, indirect=True)
def test_a_previous_result_of_any_version(caller: Caller, before: Document) -> None:
    """The configuration's version counts; a result before may come in whatever it is."""
    for version in ALL:
        previous = caller.add_before(version)
        answer = caller.call("ADD", told(caller.config, previous, "1.1.0"))
        assert answer.code == 0, (version, answer)
        assert answer.document["cniVersion"] == "1.1.0"
        addresses = {ip["address"] for ip in answer.document["ips"]}
        assert addresses == {"10.1.0.2/24", "fd01::2/64"} or version < "0.3.0"
        caller.delete(answer.document)
        for path in caller.runtime.directory.rglob("last_reserved_ip.*"):
            path.unlink()
        assert _without_last(state(caller)) == _without_last(before), version


@pytest.mark.parametrize("caller", BEHIND_OTHERS, indirect=True)
def test_a_result_is_passed_on(caller: Caller, before: Document) -> None:
    """What a plugin does not change comes as it went: keys of 1.1.0, routes, DNS."""
    previous: Document = caller.add_before() or {}
    previous["interfaces"][0] |= {"socketPath": "/run/vhost.sock", "pciID": "0000:00:1f.6"}
    more = {"mtu": 1300, "advmss": 1200, "priority": 7, "table": 100, "scope": 253}
    previous["routes"].append({"dst": "10.77.0.0/16", "gw": "10.1.0.1", **more})
    previous["dns"] = {
        "nameservers": ["192.0.2.53"], "domain": "x.test", "search": ["y"], "options": ["ndots:5"],
    }  # fmt: skip
    result = caller.call("ADD", told(caller.config, previous)).document
    count = len(previous["interfaces"])
    if caller.config["type"] == "tuning":
        assert result["interfaces"][-1].pop("mtu") == 1300
        previous["interfaces"][-1].pop("mtu")
    assert {**result, "interfaces": result["interfaces"][:count]} == previous
    caller.delete(result)
    assert state(caller) == before


def _without_last(found: Document) -> Document:
    files = [name for name in found["files"] if "last_reserved_ip" not in name]
    return {**found, "files": files}


@pytest.mark.parametrize("plugin", KILLED_HERE)
def test_killed_at_any_point(plugin: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    prepare(runtime)
    victim = Victim(runtime, make_netns(), CASES[plugin].make(runtime))
    # What only User Mode Linux has takes seconds for each point there.
    is_slow = SECOND_KERNEL & set(CASES[plugin].features)
    if is_slow:
        kill_everywhere(victim, "ADD", sample=2, records=1)
        return
    for command in ("ADD", "DEL"):
        kill_everywhere(victim, command, sample=6)
