"""The executables ``host-local``, ``static`` and ``loopback``: alone and under ``bridge``."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    example_of,
    link_of,
    routes_of,
    with_previous,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import needs_original
from podway.cni.errors import CHECK_FAILED, NO_ADDRESS, UNAVAILABLE


def host_local(runtime: Runtime, *subnets: str) -> Document:
    """Return a configuration by which ``host-local`` itself is called."""
    return config_of("host-local", ipam=runtime.ipam(*(subnets or ("10.1.0.0/24",))))


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(command: str, runtime: Runtime, pod: Netns) -> None:
    victim = Victim(runtime, pod, (host_local(runtime, "10.1.0.0/24", "fd01::/64"),))
    kill_everywhere(victim, command, every_change=True)


def test_everything_at_once(runtime: Runtime, pod: Netns) -> None:
    """ADD, DEL and GC of the same and of other containers; no address is given twice."""
    config = host_local(runtime, "10.1.0.0/27")
    valid = [{"containerID": f"c{n}", "ifname": "eth0"} for n in range(12)]
    steps = [("ADD", f"c{n}") for n in range(12)] + [("DEL", "x"), ("GC", "x"), ("GC", "x")]

    def call(step: tuple[str, str]) -> tuple[int, str]:
        told = {**config, "cni.dev/valid-attachments": valid} if step[0] == "GC" else config
        outcome = runtime.call(step[0], told, pod, container_id=step[1])
        return outcome.code, str(outcome.document.get("ips"))

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(call, sorted(steps, key=lambda step: step[1][-1])))
    assert {code for code, _ in answers} == {0}
    given = [ips for _, ips in answers if ips != "None"]
    assert len(given) == len(set(given)) == len(runtime.reserved()) == 12


def test_status(runtime: Runtime, pod: Netns, tmp_path: Path) -> None:
    config = host_local(runtime, "10.1.0.0/30")
    assert runtime.call("STATUS", config).code == 0
    runtime.add(config, pod)
    assert runtime.call("STATUS", config).code == UNAVAILABLE
    assert runtime.call("ADD", config, pod, container_id="c2").code == NO_ADDRESS
    assert runtime.call("DEL", config, pod).code == 0
    assert runtime.call("STATUS", config).code == 0
    for way in ("file", "file/below"):
        (tmp_path / "file").write_text("", encoding="utf-8")
        config["ipam"]["dataDir"] = f"{tmp_path}/{way}"
        assert runtime.call("STATUS", config).code == UNAVAILABLE


def test_gc_collects_what_is_of_nobody(runtime: Runtime, pod: Netns) -> None:
    config = host_local(runtime)
    for name in ("c1", "c2"):
        runtime.add(config, pod, container_id=name)
    runtime.add(config, pod, ifname="net1")
    (runtime.directory / "net" / "10.1.0.77").write_bytes(b"")
    valid = [{"containerID": "c1", "ifname": "net1"}]
    assert runtime.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
    assert runtime.reserved() == {"10.1.0.4"}


def test_the_example_of_host_local(runtime: Runtime, pod: Netns) -> None:
    config = example_of("host-local", runtime)
    checked = with_previous(config, runtime.add(config, pod))
    assert addresses_of(pod, "eth0") == {"10.61.0.100/24", "fd00:61::2/64"}
    assert {
        "dst": "default",
        "gateway": "10.61.0.1",
        "dev": "eth0",
        "metrics": [{"mtu": 1400}],
    } in [{key: route[key] for key in route if key != "protocol"} for route in routes_of(pod)]
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0


def test_the_example_of_static(runtime: Runtime, pod: Netns) -> None:
    config = example_of("static", runtime)
    result = runtime.add(config, pod)
    assert addresses_of(pod, "eth0") == {"10.62.0.5/24", "fd00:62::5/64"}
    assert runtime.call("STATUS", config).code == 0
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    lost = {**result, "ips": result["ips"][:1]}
    assert runtime.call("CHECK", with_previous(config, lost), pod).code == CHECK_FAILED
    assert runtime.call("DEL", config, pod).code == 0


@needs_original
def test_the_example_of_loopback(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = example_of("loopback", runtime)
    found = []
    for reference in (True, False):
        pod = make_netns()
        pod.ip("link", "set", "lo", "down")
        result = runtime.add(config, pod, reference=reference, ifname="lo")
        assert "UP" in link_of(pod, "lo")["flags"]
        result["interfaces"][0].pop("sandbox")
        found.append({key: value for key, value in result.items() if key != "dns" or value})
        checked = {**with_previous(config, result), "cniVersion": "1.0.0"}
        assert runtime.call("CHECK", checked, pod, ifname="lo").code == 0
        assert runtime.call("DEL", config, pod, ifname="lo").code == 0
        assert "UP" not in link_of(pod, "lo")["flags"]
        assert runtime.call("CHECK", checked, pod, ifname="lo").code == CHECK_FAILED
    theirs, ours = found
    assert ours == theirs
    for command in ("STATUS", "GC"):
        told = {**config, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []}
        assert runtime.call(command, told).code == 0


@pytest.mark.parametrize("path", ["", "/nonexistent"])
def test_loopback_without_a_namespace(path: str, runtime: Runtime) -> None:
    config = {**config_of("loopback"), "cniVersion": "0.3.1"}
    assert runtime.call("DEL", config, path, ifname="lo").code == 0
