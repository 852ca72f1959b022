"""What host-device reads, what it keeps of a device, and how a file holds that."""

import json
from pathlib import Path
from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from podway.cni.values import replace
from podway.netlink.constants import AF_INET, AF_INET6, IFF_UP, RTNH_F_ONLINK, RTPROT_BOOT
from podway.netlink.text import pack_address
from podway.plugins.host_device_conf import (
    DATA_DIR,
    HostDeviceConf,
    parse_conf,
    parse_hardware_address,
    require_device,
)
from podway.plugins.host_device_files import (
    parse_state,
    path_of,
    read_state,
    remove_file,
    remove_state,
    render_state,
    state_paths,
    write_state,
)
from podway.plugins.host_device_moves import compute_change, compute_route_requests
from podway.plugins.host_device_state import HostState, compute_state
from unit.plugins.plugin_calls import call_of

PCI = "0000:00:1f.6"
NOTHING = HostDeviceConf(device="", mac="", kernel_path="", hardware_id="", data_dir=DATA_DIR)


def parse(config: dict[str, Any]) -> HostDeviceConf:
    return parse_conf(call_of(config))


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        pytest.param({"device": "eth1"}, {"device": "eth1"}, id="name"),
        pytest.param({"hwaddr": "0A:00:00:00:00:01"}, {"mac": "0a:00:00:00:00:01"}, id="MAC"),
        pytest.param(
            {"kernelpath": "/sys/devices/pci0000:00/0000:00:19.0"},
            {"kernel_path": "/sys/devices/pci0000:00/0000:00:19.0"},
            id="kernel path",
        ),
        pytest.param({"pciBusID": PCI}, {"hardware_id": PCI}, id="PCI"),
        pytest.param(
            {"pciBusID": "0000:99:00.0", "runtimeConfig": {"deviceID": PCI}},
            {"hardware_id": PCI, "hardware_key": "runtimeConfig.deviceID"},
            id="the runtime's comes first",
        ),
        pytest.param(
            {"runtimeConfig": {"deviceID": "mlx5_core.sf.4"}},
            {"hardware_id": "mlx5_core.sf.4", "hardware_key": "runtimeConfig.deviceID"},
            id="auxiliary bus",
        ),
        pytest.param({"dataDir": "/data"}, {"data_dir": "/data"}, id="directory"),
    ],
)
def test_configuration(config: dict[str, Any], changes: dict[str, str]) -> None:
    assert parse(config) == replace(NOTHING, **changes)


def test_a_device_must_be_named() -> None:
    with pytest.raises(CniError) as caught:
        require_device(parse({}))
    assert caught.value.code == INVALID_CONFIG
    require_device(parse({"device": "eth1"}))


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"device": "a" * 16}, "device", id="name of 16 characters"),
        pytest.param({"device": "../eth1"}, "device", id="path for a name"),
        pytest.param({"device": 1}, "device", id="number for a name"),
        pytest.param({"hwaddr": "0a:00"}, "hwaddr", id="two bytes"),
        pytest.param({"hwaddr": "zz:00:00:00:00:01"}, "hwaddr", id="not hexadecimal"),
        pytest.param({"hwaddr": "0a00.0000"}, "hwaddr", id="four bytes with dots"),
        pytest.param({"hwaddr": []}, "hwaddr", id="array for a MAC"),
        pytest.param({"kernelpath": "/etc"}, "kernelpath", id="path elsewhere"),
        pytest.param({"kernelpath": "/sys/devices/../../etc"}, "kernelpath", id="path upwards"),
        pytest.param({"kernelpath": "/sys/devices/a\0"}, "kernelpath", id="zero byte in a path"),
        pytest.param({"kernelpath": {}}, "kernelpath", id="object for a path"),
        pytest.param({"pciBusID": "../0000:00:1f.6"}, "pciBusID", id="address upwards"),
        pytest.param({"pciBusID": ".."}, "pciBusID", id="directory for an address"),
        pytest.param({"pciBusID": "a/b"}, "pciBusID", id="slash in an address"),
        pytest.param({"pciBusID": "\u0660"}, "pciBusID", id="address beyond ASCII"),
        pytest.param({"pciBusID": 3}, "pciBusID", id="number for an address"),
        pytest.param(
            {"runtimeConfig": {"deviceID": "a b"}}, "runtimeConfig.deviceID", id="the runtime's"
        ),
        pytest.param({"dataDir": "state"}, "dataDir", id="relative directory"),
        pytest.param({"dataDir": "/a\0b"}, "dataDir", id="zero byte in a directory"),
        pytest.param({"dataDir": True}, "dataDir", id="boolean for a directory"),
    ],
)
def test_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


def test_a_key_of_newer_originals_is_refused_openly() -> None:
    assert parse({"useInterfaceNetwork": False}) == NOTHING
    with pytest.raises(CniError) as caught:
        parse({"useInterfaceNetwork": True})
    assert caught.value.code == UNSUPPORTED_FIELD


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0A:00:00:00:00:01", "0a:00:00:00:00:01"),
        ("0a-00-00-00-00-01", "0a:00:00:00:00:01"),
        ("0a00.0000.0001", "0a:00:00:00:00:01"),
        ("02:00:5e:10:00:00:00:01", "02:00:5e:10:00:00:00:01"),
        ("00:" * 19 + "01", "00:" * 19 + "01"),
    ],
)
def test_hardware_addresses(text: str, address: str) -> None:
    assert parse_hardware_address(text) == address


# --- state --------------------------------------------------------------------------------------


LINK: Any = {
    "index": 5,
    "ifname": "dev0",
    "ifalias": "the uplink",
    "address": "0a:00:00:00:00:01",
    "perm_address": "0a:00:00:00:00:01",
    "mtu": 1400,
    "flags": IFF_UP,
    "master": 9,
}


def address(text: str, **fields: Any) -> Any:
    packed = pack_address(text)
    family = AF_INET if len(packed) == 4 else AF_INET6
    local = {"local": packed} if family == AF_INET else {}
    found = {"family": family, "prefixlen": 24, "flags": 0x80, "scope": 0, "index": 5}
    return {**found, "address": packed, **local, **fields}


def route(dst: str, **fields: Any) -> Any:
    packed = pack_address(dst)
    family = AF_INET if len(packed) == 4 else AF_INET6
    found = {"family": family, "dst": packed, "dst_len": 16, "table": 254, "flags": 0, "oif": 5}
    return {**found, "protocol": RTPROT_BOOT, "scope": 0, "type": 1, **fields}


def state_of(addresses: list[Any], routes: list[Any]) -> HostState:
    request = call_of({"type": "host-device"}).request
    return compute_state(request, (4, 77), LINK, "br0", addresses, routes)


def test_state_of_the_device() -> None:
    assert state_of([], []) == HostState(
        network="net",
        container_id="c1",
        ifname="eth0",
        netns="/run/netns/c1",
        netns_id=(4, 77),
        name="dev0",
        alias="the uplink",
        mac="0a:00:00:00:00:01",
        perm_mac="0a:00:00:00:00:01",
        kind="",
        mtu_bytes=1400,
        is_up=True,
        master="br0",
    )


@pytest.mark.parametrize(
    ("found", "is_kept"),
    [
        pytest.param(address("192.0.2.2"), True, id="somebody gave it"),
        pytest.param(address("192.0.2.2", flags=0x81), True, id="secondary"),
        pytest.param(address("192.0.2.2", flags=0), False, id="for a time"),
        pytest.param(address("fe80::1", proto=3), False, id="the kernel made it"),
        pytest.param(address("fe80::1"), True, id="link-local, but given"),
    ],
)
def test_which_addresses_are_kept(found: Any, is_kept: bool) -> None:  # noqa: FBT001
    kept = state_of([found], []).addresses
    assert bool(kept) is is_kept
    for each in kept:
        assert each["address"] == found["address"]
        assert each["flags"] == 0
        assert "index" not in each


@pytest.mark.parametrize(
    ("found", "is_kept"),
    [
        pytest.param(route("10.0.0.0"), True, id="somebody wrote it"),
        pytest.param(route("10.0.0.0", protocol=4), True, id="static"),
        pytest.param(route("10.0.0.0", table=77), True, id="another table"),
        pytest.param(route("10.0.0.0", protocol=2), False, id="the kernel's"),
        pytest.param(route("10.0.0.0", protocol=9), False, id="advertised"),
        pytest.param(route("10.0.0.0", protocol=16), False, id="by DHCP"),
        pytest.param(route("10.0.0.0", table=255), False, id="local"),
        pytest.param(route("10.0.0.0", encap_type=1), False, id="encapsulated"),
        pytest.param(route("10.0.0.0", family=28), False, id="MPLS"),
    ],
)
def test_which_routes_are_kept(found: Any, is_kept: bool) -> None:  # noqa: FBT001
    kept = state_of([], [found]).routes
    assert bool(kept) is is_kept
    assert all("oif" not in each for each in kept)


WAYS = [
    {"ifindex": 5, "flags": RTNH_F_ONLINK | 1, "hops": 0, "gateway": pack_address("192.0.2.1")},
    {"ifindex": 8, "flags": 0, "hops": 3, "gateway": pack_address("198.18.0.1")},
]


def test_several_ways_are_written_whole_for_ipv4() -> None:
    state = state_of([], [route("10.0.0.0", multipath=WAYS)])
    (request,) = compute_route_requests(state, 6)
    assert request.fields["multipath"] == [
        {**WAYS[0], "ifindex": 6, "flags": RTNH_F_ONLINK},
        WAYS[1],
    ]


def test_of_several_ways_for_ipv6_the_others_are_still_there() -> None:
    state = state_of([], [route("2001:db8::", multipath=WAYS)])
    (request,) = compute_route_requests(state, 6)
    assert [way["ifindex"] for way in request.fields["multipath"]] == [6]


FULL = state_of(
    [address("192.0.2.2", label="dev0", broadcast=pack_address("192.0.2.255")), address("fd00::2")],
    [
        route("10.0.0.0", gateway=pack_address("192.0.2.1"), metrics={"mtu": 1300}),
        route("10.9.0.0", multipath=WAYS),
        route("10.8.0.0", via={"family": AF_INET6, "addr": pack_address("fd00::1")}),
    ],
)


def test_a_file_holds_it_all(tmp_path: Path) -> None:
    assert parse_state(render_state(FULL).encode()) == FULL
    directory = str(tmp_path / "a" / "b")
    assert state_paths(directory, "net") == []
    for _ in range(2):
        write_state(directory, FULL)
    write_state(directory, replace(FULL, network="net2"))
    assert state_paths(directory, "net") == [path_of(directory, FULL)]
    assert read_state(path_of(directory, FULL)) == FULL
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert Path(path_of(directory, FULL)).stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        remove_state(directory, FULL)
    assert state_paths(directory, "net") == []


def test_what_a_killed_process_left_is_removed_as_well(tmp_path: Path) -> None:
    path = path_of(str(tmp_path), FULL)
    Path(f"{path}.new").write_bytes(b"{")
    assert state_paths(str(tmp_path), "net") == [path]
    remove_file(path)
    assert state_paths(str(tmp_path), "net") == []


def test_each_attachment_has_its_file() -> None:
    others = (
        FULL,
        replace(FULL, network="net2"),
        replace(FULL, container_id="c2"),
        replace(FULL, ifname="eth1"),
        replace(FULL, network="n", container_id="etc1"),
    )
    assert len({path_of("/run/x", state) for state in others}) == len(others)


def test_addresses_are_readable_in_the_file() -> None:
    document = json.loads(render_state(FULL))
    assert document["addresses"][0]["local"] == "192.0.2.2"
    assert document["routes"][0]["gateway"] == "192.0.2.1"


@pytest.mark.parametrize(
    "change",
    [
        {"netnsID": [1]},
        {"netnsID": "ab"},
        {"addresses": None},
        {"addresses": [3]},
        {"routes": [{"dst": "x"}]},
        {"device": None},
        {"device": "../dev0"},
        {"up": "yes"},
    ],
    ids=str,
)
def test_what_a_file_may_not_say(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps({**json.loads(render_state(FULL)), **change}))
    assert read_state(str(path)) is None


def test_only_what_differs_is_changed_back() -> None:
    link: Any = {**LINK, "index": 8}
    assert compute_change(link, FULL) == {"index": 8, "ifalias": "the uplink"}
    changed: Any = {**link, "mtu": 1280, "address": "0a:00:00:00:00:02"}
    assert compute_change(changed, FULL) == {
        "index": 8,
        "ifalias": "the uplink",
        "mtu": 1400,
        "address": "0a:00:00:00:00:01",
    }
