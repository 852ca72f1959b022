"""The ``firewall`` executable: its rules, with the original as witness, CHECK, and what is left."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from netns.conftest import MakeNetns
from netns.plugins.cni_runtime import Document, Runtime, config_of, saved_table, with_previous
from netns.plugins.firewalled_bridges import (
    BACKENDS,
    OURS,
    attach,
    both_backends,
    firewall,
    result_of,
    traces,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import each_first, needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    LIMITED_CONNECTIVITY,
    UNAVAILABLE,
    UNSUPPORTED_FIELD,
)


@needs_original
@pytest.mark.parametrize("policy", ["open", "same-bridge"])
@pytest.mark.parametrize("admin", ["", "MY-ADMIN"])
def test_the_same_as_the_original(
    policy: str, admin: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    found = []
    for reference in (True, False):
        hosted = Runtime(make_netns(), runtime.executables, runtime.directory)
        keys = {"backend": "iptables", "ingressPolicy": policy, "iptablesAdminChainName": admin}
        config = {**firewall(hosted, **keys), "cniVersion": "1.0.0"}
        result = {**result_of(), "cniVersion": "1.0.0"}
        told = hosted.add(with_previous(config, result), make_netns(), reference=reference)
        told.pop("dns", None)
        found.append((told, saved_table(hosted.host, "filter")))
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
    keys = {"backend": "iptables", "ingressPolicy": "same-bridge"}
    result = {**result_of(), "cniVersion": "1.0.0"}
    config = with_previous({**firewall(runtime, **keys), "cniVersion": "1.0.0"}, result)
    runtime.add(config, pod, reference=not ours_first)
    assert runtime.call("CHECK", config, pod, reference=ours_first).code == 0
    assert runtime.call("DEL", config, pod, reference=ours_first).code == 0
    assert "10.1.0.5" not in runtime.host.exec("nft", "list", "ruleset")


@pytest.mark.parametrize(
    ("policy", "result"),
    [
        pytest.param("same-bridge", {"interfaces": []}, id="no interface"),
        pytest.param(
            "isolated", {"interfaces": [{"name": "eth0", "sandbox": "/x"}]}, id="in the container"
        ),
        pytest.param("same-bridge", {"interfaces": [{"name": "br+"}]}, id="a pattern"),
        pytest.param("same-bridge", {"interfaces": [{"name": 'br" -j'}]}, id="a quote"),
        pytest.param("same-bridge", {"interfaces": [{"name": "br\n-A"}]}, id="a line feed"),
        pytest.param("same-bridge", {"interfaces": [{"name": "b" * 16}]}, id="16 characters"),
    ],
)
def test_a_policy_needs_a_bridge(policy: str, result: Document, runtime: Runtime) -> None:
    config = firewall(runtime, backend="iptables", ingressPolicy=policy)
    told = with_previous(config, {**result_of(), **result})
    assert runtime.call("ADD", told, "/x").code == INVALID_CONFIG
    assert runtime.host.exec("nft", "list", "ruleset") == ""


BREAKAGES: Final = {
    "iptables": (
        "iptables -F FORWARD",
        "ip6tables -F CNI-FORWARD",
        "iptables -D CNI-FORWARD -s 10.1.0.5 -j ACCEPT",
        "iptables -F CNI-ISOLATION-STAGE-1",
        "iptables -F CNI-ISOLATION-STAGE-2",
        "nft flush ruleset",
    ),
    "nftables": (
        "nft flush chain inet filter forward",
        "nft flush chain inet filter CNI-FORWARD",
        "nft flush chain inet filter CNI-ISOLATION-STAGE-1",
        "nft flush chain inet filter CNI-ISOLATION-STAGE-2",
        "nft flush ruleset",
    ),
}


@both_backends
def test_check_notices(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    pod = make_netns()
    config = firewall(runtime, backend=backend, ingressPolicy="isolated")
    config = with_previous(config, result_of())
    for breakage in BREAKAGES[backend]:
        runtime.add(config, pod)
        assert runtime.call("CHECK", config, pod).code == 0
        runtime.host.exec(*breakage.split())
        assert runtime.call("CHECK", config, pod).code == CHECK_FAILED, breakage
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(runtime, *OURS) == []


@both_backends
def test_status_of_those_attached(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host, pod = runtime.host, make_netns()
    config = with_previous(firewall(runtime, backend=backend), attach(host, pod))
    assert runtime.call("STATUS", config).code == 0
    runtime.add(config, pod)
    assert runtime.call("STATUS", config).code == 0
    # As after `iptables -F`, or a restart of what had made the rules.
    host.exec("nft", "flush", "ruleset")
    assert runtime.call("STATUS", config).code == LIMITED_CONNECTIVITY
    assert runtime.call("STATUS", {**config, "name": "other"}).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert runtime.call("STATUS", config).code == 0, "nobody is attached"


@both_backends
def test_add_twice_is_as_once(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    pod = make_netns()
    config = firewall(runtime, backend=backend, ingressPolicy="isolated")
    config = with_previous(config, result_of())
    runtime.add(config, pod)
    before = runtime.host.exec("nft", "list", "ruleset")
    runtime.add(config, pod)
    assert runtime.host.exec("nft", "list", "ruleset") == before


@pytest.mark.parametrize("previous", [True, False], ids=["with prevResult", "without"])
@both_backends
def test_del_needs_little(
    backend: str,
    previous: bool,  # noqa: FBT001
    runtime: Runtime,
) -> None:
    """Also when another back end is configured by then, and the namespace is gone."""
    config = firewall(runtime, backend=backend)
    assert runtime.call("ADD", with_previous(config, result_of()), "/x").code == 0
    config["backend"] = BACKENDS[BACKENDS.index(backend) - 1]
    told = with_previous(config, result_of()) if previous else config
    for _ in range(2):
        assert runtime.call("DEL", told, "").code == 0
        assert traces(runtime, *OURS) == []


@both_backends
def test_rules_without_a_note_go_too(backend: str, runtime: Runtime) -> None:
    """Those of the reference plugin, or of a machine whose /run was emptied; torn notes."""
    config = with_previous(firewall(runtime, backend=backend), result_of())
    assert runtime.call("ADD", config, "/x").code == 0
    (runtime.directory / "firewall" / "10.1.0.5").unlink()
    (runtime.directory / "firewall" / "fd01::5").write_text('{"netw', encoding="utf-8")
    assert runtime.call("DEL", config, "").code == 0
    assert traces(runtime, *OURS) == []


@both_backends
def test_a_late_del_leaves_the_next_owner_alone(
    backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    pod = make_netns()
    config = with_previous(firewall(runtime, backend=backend), result_of())
    runtime.add(config, pod, container_id="old")
    runtime.add(config, pod, container_id="new")
    for command in ("old", "old"):
        assert runtime.call("DEL", config, "", container_id=command).code == 0
    assert runtime.call("CHECK", config, pod, container_id="new").code == 0
    assert runtime.call("DEL", config, "", container_id="new").code == 0
    assert traces(runtime, *OURS) == []


def test_another_back_end_takes_over(runtime: Runtime, make_netns: MakeNetns) -> None:
    pod = make_netns()
    for backend in (*BACKENDS, "iptables"):
        config = with_previous(firewall(runtime, backend=backend), result_of())
        runtime.add(config, pod)
        assert len(traces(runtime, "10.1.0.5")) == 3, "two rules and a note"


@both_backends
def test_gc(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host, pod = runtime.host, make_netns()
    for bridge in ("br1", "br3"):
        host.ip("link", "add", bridge, "type", "bridge")
    config = firewall(runtime, backend=backend, ingressPolicy="same-bridge")
    for number in (5, 6):
        runtime.add(with_previous(config, result_of(number)), pod, container_id=f"c{number}")
    stranger = {**config, "name": "other"}
    runtime.add(with_previous(stranger, result_of(5, "br3")), pod, container_id="c9")
    host.ip("link", "del", "br3")
    valid = {"cni.dev/valid-attachments": [{"containerID": "c5", "ifname": "eth0"}]}
    for _ in range(2):
        assert runtime.call("GC", {**config, **valid}).code == 0
        assert traces(runtime, "10.1.0.6", "fd01::6") == []
        left = with_previous(config, result_of(5))
        assert runtime.call("CHECK", left, pod, container_id="c5").code == 0
        assert len(traces(runtime, "10.3.0.5")) == 3, "another network's"
        assert "br3" not in host.exec("nft", "list", "ruleset"), "a bridge that is gone"


@both_backends
def test_many_at_once(backend: str, runtime: Runtime) -> None:
    config = firewall(runtime, backend=backend, ingressPolicy="same-bridge")

    def call(command: str) -> set[int]:
        with ThreadPoolExecutor(8) as threads:
            outcomes = threads.map(
                lambda n: runtime.call(
                    command, with_previous(config, result_of(n)), "/x", container_id=f"c{n}"
                ),
                range(2, 10),
            )
            return {outcome.code for outcome in outcomes}

    assert call("ADD") == {0}
    rules = runtime.host.exec("nft", "list", "ruleset")
    families = 1 if backend == "nftables" else 2
    assert len(re.findall(r"jump CNI-FORWARD", rules)) == families, "written once"
    assert call("CHECK") == {0}
    assert call("DEL") == {0}
    addresses = [address for n in range(2, 10) for address in (f"10.1.0.{n}", f"fd01::{n}")]
    assert traces(runtime, *addresses) == []


@pytest.mark.parametrize(
    ("command", "backend"), [("ADD", "iptables"), ("DEL", "iptables"), ("ADD", "nftables")]
)
def test_killed_at_any_point(
    command: str, backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    ptp = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24"))
    plugins = (ptp, firewall(runtime, backend=backend))
    kill_everywhere(Victim(runtime, make_netns(), plugins, number=1), command)


def test_without_prev_result_or_back_end(runtime: Runtime, tmp_path: Path) -> None:
    config = firewall(runtime, backend="iptables")
    for command in ("ADD", "CHECK"):
        assert runtime.call(command, config, "/x").code == INVALID_CONFIG
    assert runtime.call("STATUS", config).code == 0
    nowhere: Document = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    firewalld = with_previous(firewall(runtime, backend="firewalld"), result_of())
    assert runtime.call("ADD", firewalld, "/x", **nowhere).code == UNSUPPORTED_FIELD
    assert runtime.call("STATUS", firewalld, **nowhere).code == UNAVAILABLE
    assert runtime.call("DEL", firewalld, "", **nowhere).code == 0
    default = firewall(runtime)
    assert runtime.call("ADD", with_previous(default, result_of()), "/x", **nowhere).code == 0
    assert "CNI-FORWARD" in runtime.host.exec("iptables-save", "-t", "filter")
