"""What DEL and GC of the ``bandwidth`` executable leave, beside others and beside each other."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, devices, with_previous
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import needs_original
from netns.plugins.shaped_links import BOTH, attach, bandwidth, host_end

pytestmark = pytest.mark.kernel("ifb")


def test_del_without_namespace_and_previous_result(runtime: Runtime, make_netns: MakeNetns) -> None:
    first, second = make_netns(), make_netns()
    config = bandwidth(**BOTH)
    for number, pod in enumerate((first, second)):
        told = {"container_id": f"c{number}"}
        runtime.add(with_previous(config, attach(runtime, pod, **told)), pod, **told)
    assert runtime.call("DEL", config, "", container_id="c0").code == 0
    assert runtime.call("DEL", config, "/nothing/there", container_id="c1").code == 0
    assert not [name for name in devices(runtime.host) if name.startswith("bwp")]


def test_gc(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = bandwidth(**BOTH)
    ifbs = []
    for number in range(3):
        told, pod = {"container_id": f"c{number}"}, make_netns()
        previous = with_previous(config, attach(runtime, pod, **told))
        ifbs.append(runtime.add(previous, pod, **told)["interfaces"][-1]["name"])
    runtime.host.ip("link", "add", "bwp0", "type", "ifb")
    other = {**config, "name": "other", "cni.dev/valid-attachments": []}
    assert runtime.call("GC", other).code == 0
    assert {*ifbs, "bwp0"} <= devices(runtime.host)
    valid = [{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "eth1"}]
    assert runtime.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
    assert {ifbs[1], "bwp0"} == {each for each in devices(runtime.host) if each[:3] == "bwp"}


def test_a_container_that_is_attached_twice(runtime: Runtime, pod: Netns) -> None:
    config = bandwidth(**BOTH)
    results = {}
    for ifname in ("eth0", "eth1"):
        previous = with_previous(config, attach(runtime, pod, ifname=ifname))
        results[ifname] = runtime.add(previous, pod, ifname=ifname)
    first, second = (each["interfaces"][-1]["name"] for each in results.values())
    for ifname, result in results.items():
        assert runtime.call("CHECK", with_previous(config, result), pod, ifname=ifname).code == 0
    assert runtime.call("DEL", config, pod, ifname="eth0").code == 0
    left = devices(runtime.host)
    assert (first in left, second in left) == (False, True)
    assert runtime.call("DEL", config, pod, ifname="eth1").code == 0
    assert second not in devices(runtime.host)


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(runtime: Runtime, pod: Netns, command: str) -> None:
    ptp = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24"))
    plugins = (ptp, bandwidth(**BOTH, shapedSubnets=["10.0.0.0/8"]))
    kill_everywhere(Victim(runtime, pod, plugins, number=1), command)


@needs_original
def test_gc_of_what_the_original_left(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = {**bandwidth(**BOTH), "cniVersion": "1.0.0"}
    pods = [make_netns(), make_netns()]
    ifbs = []
    for number, pod in enumerate(pods):
        told: dict[str, Any] = {"container_id": f"c{number}"}
        previous = {**attach(runtime, pod, **told), "cniVersion": "1.0.0"}
        made = runtime.add(with_previous(config, previous), pod, reference=True, **told)
        ifbs.append(made["interfaces"][-1]["name"])
    pods[0].ip("link", "del", "eth0")
    other = {**bandwidth(), "name": "other", "cni.dev/valid-attachments": []}
    assert runtime.call("GC", other).code == 0
    assert {each for each in devices(runtime.host) if each[:3] == "bwp"} == {ifbs[1]}


def test_many_at_once(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = bandwidth(**BOTH)
    pods = [make_netns() for _ in range(8)]
    previous = [attach(runtime, pod, container_id=f"c{n}") for n, pod in enumerate(pods)]
    valid = [{"containerID": f"c{n}", "ifname": "eth0"} for n in range(8)]

    def add(n: int) -> Document:
        told = with_previous(config, previous[n])
        return runtime.add(told, pods[n], container_id=f"c{n}")

    with ThreadPoolExecutor(9) as pool:
        collected = pool.submit(runtime.call, "GC", {**config, "cni.dev/valid-attachments": valid})
        results = list(pool.map(add, range(8)))
        assert collected.result().code == 0
        for n, result in enumerate(results):
            told = with_previous(config, result)
            assert runtime.call("CHECK", told, pods[n], container_id=f"c{n}").code == 0
        deleted = [
            pool.submit(runtime.call, "DEL", config, pod, container_id=f"c{n}")
            for n, pod in enumerate(pods)
            for _ in range(2)
        ]
        assert {each.result().code for each in deleted} == {0}
    assert devices(runtime.host) == {host_end(each) for each in previous}


def test_del_while_others_change_filters(runtime: Runtime, pod: Netns) -> None:
    """The kernel refuses (EBUSY) to take a qdisc away that somebody else's request is about."""
    result = attach(runtime, pod)
    config, device = bandwidth(**BOTH), host_end(result)
    match = f"dev {device} ingress pref 9 protocol ip"
    line = f"filter replace {match} u32 match u32 0 0 action ok\nfilter del {match}\n"
    batch = runtime.directory / "filters"
    batch.write_text(line * 100_000)
    command = ["ip", "netns", "exec", runtime.host.name, "tc", "-force", "-batch", str(batch)]
    others = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        for _ in range(20):
            told = with_previous(config, runtime.add(with_previous(config, result), pod))
            outcome = runtime.call("DEL", told, pod)
            assert outcome.code == 0, outcome
        assert all(other.poll() is None for other in others)
    finally:
        for other in others:
            other.kill()
            other.wait()
