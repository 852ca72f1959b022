"""The ``flannel`` executable with podway's bridge behind it, and with Debian's."""

import json
from pathlib import Path
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    connect,
    devices,
    link_of,
    routes_of,
    with_previous,
)
from netns.plugins.originals import needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    IO_FAILURE,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
)
from podway.plugins.flannel_calls import FAILED_TO_LOAD

SUBNET_ENV = """\
FLANNEL_NETWORK=10.244.0.0/16,10.245.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""
MANUAL = Path(__file__).parents[3] / "docs" / "reference" / "cni" / "flannel.md"


@pytest.fixture
def subnet_env(tmp_path: Path) -> Path:
    path = tmp_path / "subnet.env"
    path.write_text(SUBNET_ENV)
    return path


def flannel(runtime: Runtime, **keys: Any) -> Document:
    return config_of(
        "flannel",
        subnetFile=f"{runtime.directory}/subnet.env",
        dataDir=f"{runtime.directory}/flannel",
        ipam={"dataDir": str(runtime.directory)},
        **{"delegate": {"hairpinMode": True, "isDefaultGateway": True}, **keys},
    )


def kept(runtime: Runtime) -> set[str]:
    directory = runtime.directory / "flannel"
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("subnet_env")
def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = flannel(runtime)
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    assert addresses_of(pod, "eth0") == {"10.244.1.2/24", "fd00:244:0:1::2/64"}
    assert link_of(pod, "eth0")["mtu"] == 1450
    assert {route["dst"] for route in routes_of(pod)} == {
        "default", "10.244.0.0/16", "10.244.1.0/24", "10.245.0.0/16", "fd00:244::/48",
        "fd00:244:0:1::/64",
    }  # fmt: skip
    assert devices(runtime.host) >= {"cni0"}
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    pod.ip("addr", "del", "10.244.1.2/24", "dev", "eth0")
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(pod) == set()
        assert runtime.reserved() == set()
        assert kept(runtime) == set()
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED


def test_del_is_of_the_subnet_that_add_had(runtime: Runtime, pod: Netns, subnet_env: Path) -> None:
    config = flannel(runtime)
    runtime.add(config, pod)
    subnet_env.unlink()
    assert runtime.call("DEL", config, "/run/netns/gone").code == 0
    assert (runtime.reserved(), kept(runtime)) == (set(), set())
    assert devices(runtime.host) == {"cni0"}


@pytest.mark.parametrize("spoilt", ["", "{"])
@pytest.mark.usefixtures("subnet_env")
def test_del_with_a_torn_file(spoilt: str, runtime: Runtime, pod: Netns) -> None:
    config = flannel(runtime)
    runtime.add(config, pod)
    for name in kept(runtime):
        (runtime.directory / "flannel" / name).write_text(spoilt)
    (runtime.directory / "subnet.env").unlink()
    assert runtime.call("DEL", config, pod).code == 0
    assert (runtime.reserved(), kept(runtime), devices(pod)) == (set(), set(), set())


@pytest.mark.usefixtures("subnet_env")
def test_two_interfaces_of_one_container(runtime: Runtime, pod: Netns) -> None:
    first, second = flannel(runtime), {**flannel(runtime), "name": "other"}
    runtime.add(first, pod)
    runtime.add({**second, "delegate": {"bridge": "cni1"}}, pod, ifname="eth1")
    assert runtime.call("DEL", first, pod).code == 0
    assert devices(pod) == {"eth1"}
    assert runtime.reserved("other") == {"10.244.1.2", "fd00:244:0:1::2"}
    assert runtime.call("DEL", second, pod, ifname="eth1").code == 0
    assert (devices(pod), runtime.reserved("other"), kept(runtime)) == (set(), set(), set())


def test_no_subnet_yet(runtime: Runtime, pod: Netns) -> None:
    config = flannel(runtime)
    outcome = runtime.call("ADD", config, pod)
    assert (outcome.code, FAILED_TO_LOAD in outcome.msg) == (TRY_AGAIN_LATER, True)
    assert runtime.call("STATUS", config).code == UNAVAILABLE
    assert runtime.call("DEL", config, pod).code == 0
    assert (devices(pod), kept(runtime)) == (set(), set())


@pytest.mark.usefixtures("subnet_env")
def test_an_add_that_fails_leaves_nothing(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    assert runtime.call("ADD", flannel(runtime), pod).code == IO_FAILURE
    assert (runtime.reserved(), kept(runtime)) == (set(), set())
    assert devices(pod) == {"eth0", "other"}, "a device that was there stays"
    pod.ip("link", "delete", "eth0")
    refused = flannel(runtime, delegate={"mtu": "a"})
    assert runtime.call("ADD", refused, pod).code == INVALID_CONFIG
    assert kept(runtime) == set()


@pytest.mark.usefixtures("subnet_env")
def test_gc(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = flannel(runtime)
    for container_id in ("c1", "c2"):
        runtime.add(config, make_netns(), container_id=container_id)
    (runtime.directory / "flannel" / "c3").write_text('{"type":"bridge","name":"net"}')
    (runtime.directory / "flannel" / "c4").write_text('{"type":"bridge","name":"other"}')
    valid = [{"containerID": "c2", "ifname": "eth0"}]
    assert runtime.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
    assert kept(runtime) == {"c2", "c2:/eth0", "c4"}
    assert runtime.reserved() == {"10.244.1.3", "fd00:244:0:1::3"}
    assert len(devices(runtime.host)) == 2


@needs_original
@pytest.mark.usefixtures("subnet_env")
def test_with_debians_bridge_behind_it(runtime: Runtime, pod: Netns) -> None:
    (runtime.directory / "bin").mkdir()
    mine = runtime.directory / "bin" / "flannel"
    mine.symlink_to(runtime.executables / "flannel")
    mixed = Runtime(runtime.host, runtime.directory / "bin", runtime.directory)
    config = {**flannel(mixed), "cniVersion": "0.3.1"}
    result = mixed.add(config, pod)
    assert [ip["address"] for ip in result["ips"]] == ["10.244.1.2/24", "fd00:244:0:1::2/64"]
    # podway's bridge takes away what Debian's made, and the other way round.
    assert runtime.call("DEL", config, pod).code == 0
    assert (devices(pod), runtime.reserved(), kept(runtime)) == (set(), set(), set())
    runtime.add(config, pod)
    assert mixed.call("DEL", config, pod).code == 0
    assert (devices(pod), runtime.reserved(), kept(runtime)) == (set(), set(), set())


@pytest.mark.usefixtures("subnet_env")
def test_the_example_of_the_manual(runtime: Runtime, make_netns: MakeNetns) -> None:
    _, _, behind = MANUAL.read_text(encoding="utf-8").partition("```json\n")
    conflist = json.loads(behind.partition("```")[0])
    plugin = conflist["plugins"][0]
    config = {**flannel(runtime), **plugin, "cniVersion": conflist["cniVersion"]}
    pods = [make_netns() for _ in range(2)]
    for number, each in enumerate(pods):
        runtime.add(config, each, container_id=f"c{number}")
    connect(pods[0], pods[1], "10.244.1.3")


@pytest.mark.parametrize("calls", ["mkdir", "rename", "unlink", "rmdir"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
@pytest.mark.usefixtures("subnet_env")
def test_killed_at_any_point(command: str, calls: str, runtime: Runtime, pod: Netns) -> None:
    """Whatever it was doing: DEL, and also GC alone, leave nothing."""
    config = flannel(runtime)
    collecting = {**config, "cni.dev/valid-attachments": []}
    for n in range(1, 30):
        if command == "DEL":
            runtime.add(config, pod)
        was_killed = runtime.kill(command, config, pod, calls, n)
        if n % 2:
            assert runtime.call("DEL", config, pod).code == 0
        assert runtime.call("GC", collecting).code == 0
        assert list((runtime.directory / "flannel").glob("*")) == []
        assert (devices(pod), runtime.reserved()) == (set(), set())
        if not was_killed:
            return
    pytest.fail("it never came to its end")
