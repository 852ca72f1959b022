"""VLANs of the ``bridge`` executable: access port, trunk, and a gateway in a VLAN."""

import json

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    connect,
    devices,
    with_previous,
)
from podway.cni.errors import CHECK_FAILED

pytestmark = pytest.mark.kernel("bridge_vlan_filtering")


def vlans(netns: Netns, device: str) -> set[tuple[int, str]]:
    """Return the VLANs of a port with their flags, as `bridge` lists them."""
    listed = json.loads(netns.exec("bridge", "-j", "vlan", "show", "dev", device))
    return {
        (vlan, ",".join(sorted(each.get("flags", []))))
        for each in listed[0]["vlans"]
        for vlan in range(each["vlan"], each.get("vlanEnd", each["vlan"]) + 1)
    }


DEFAULT = {(1, "Egress Untagged,PVID")}
CASES: dict[str, tuple[Document, set[tuple[int, str]]]] = {
    "access": ({"vlan": 100, "preserveDefaultVlan": False}, {(100, "Egress Untagged,PVID")}),
    "access, with the default": (
        {"vlan": 100},
        {(1, "Egress Untagged"), (100, "Egress Untagged,PVID")},
    ),
    "trunk": (
        {"vlanTrunk": [{"id": 7}, {"minID": 10, "maxID": 13}], "preserveDefaultVlan": False},
        {(vlan, "") for vlan in (7, 10, 11, 12, 13)},
    ),
    "trunk, with the default": ({"vlanTrunk": [{"id": 7}]}, DEFAULT | {(7, "")}),
    "the default itself": (
        {"vlan": 1, "preserveDefaultVlan": False},
        {(1, "Egress Untagged,PVID")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_ports(case: str, runtime: Runtime, pod: Netns) -> None:
    keys, wanted = CASES[case]
    config = config_of("bridge", bridge="br0", **keys)
    result = runtime.add(config, pod)
    port = result["interfaces"][1]["name"]
    assert vlans(runtime.host, port) == wanted
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    vlan, flags = max(wanted)
    tagged = ["pvid", "untagged"] if not flags else []
    for change in (["add", *tagged], ["del"]):
        runtime.host.exec("bridge", "vlan", change[0], "dev", port, "vid", str(vlan), *change[1:])
        assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    assert runtime.call("DEL", checked, pod).code == 0
    assert devices(runtime.host) == {"br0"}


def test_check_notices_that_the_default_vlan_is_back(runtime: Runtime, pod: Netns) -> None:
    config = config_of("bridge", bridge="br0", vlan=100, preserveDefaultVlan=False)
    checked = with_previous(config, runtime.add(config, pod))
    port = checked["prevResult"]["interfaces"][1]["name"]
    runtime.host.exec("bridge", "vlan", "add", "dev", port, "vid", "1")
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    kept = {**checked, "preserveDefaultVlan": True}
    assert runtime.call("CHECK", kept, pod).code == 0


def test_a_bridge_without_filtering_gets_it(runtime: Runtime, pod: Netns) -> None:
    runtime.host.ip("link", "add", "br0", "type", "bridge")
    runtime.add(config_of("bridge", bridge="br0", vlan=100), pod)
    link = json.loads(runtime.host.ip("-j", "-d", "link", "show", "dev", "br0"))[0]
    assert link["linkinfo"]["info_data"]["vlan_filtering"] == 1


def test_a_gateway_in_a_vlan(runtime: Runtime, make_netns: MakeNetns) -> None:
    """Containers of a VLAN reach their gateway and each other, and nobody of another VLAN."""
    pods = [make_netns() for _ in range(3)]
    results = []
    for number, (pod, vlan) in enumerate(zip(pods, (100, 100, 200), strict=True)):
        config = config_of(
            "bridge",
            bridge="br0",
            vlan=vlan,
            preserveDefaultVlan=False,
            isDefaultGateway=True,
            ipam=runtime.ipam(f"10.{vlan}.0.0/24"),
        )
        config["name"] = f"net{vlan}"
        results.append((config, runtime.add(config, pod, container_id=f"c{number}")))
    assert [each["name"] for each in results[0][1]["interfaces"]][3] == "br0.100"
    assert addresses_of(runtime.host, "br0.100") == {"10.100.0.1/24"}
    assert addresses_of(runtime.host, "br0") == set()
    connect(pods[0], pods[1], "10.100.0.3")
    connect(pods[2], runtime.host, "10.200.0.1")
    for number, (config, result) in enumerate(results):
        checked = with_previous(config, result)
        assert runtime.call("CHECK", checked, pods[number], container_id=f"c{number}").code == 0
    # Another VLAN's neighbour cannot even be asked for.
    pods[2].ip("addr", "add", "10.100.0.9/24", "dev", "eth0")
    asked = "ping -c 1 -W 1 10.100.0.2 >/dev/null && echo yes || echo no"
    assert pods[2].exec("sh", "-c", asked) == "no\n"
