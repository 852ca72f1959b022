"""WireGuard devices, made and kept by Debian's wireguard-go; `wg` is the witness.

The kernels at hand have no WireGuard; where one has it, the same tests use it.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from netns.conftest import MakeNetns
from netns.kernel.wireguard_nodes import (
    DEV,
    LINK,
    PEERS,
    PSK,
    WireguardNode,
    allowed,
    key_number,
    peer_number,
    running,
)
from podway.kernel.protocol import DeviceChanged, KernelError
from podway.model.kernel import AllowedIp, KernelObject, WireguardDevice, WireguardPeer, link_key
from podway.model.secret import Secret

pytestmark = pytest.mark.root


@pytest.fixture
def node(make_netns: MakeNetns, tmp_path: Path) -> Iterator[WireguardNode]:
    with running(WireguardNode(make_netns(), tmp_path)) as made:
        yield made


def test_what_is_wanted_is_there(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    device = node.wg("show", DEV, "dump")[0]
    assert device[1:3] == [node.key.public(), "51820"]
    assert node.peers() == {
        key_number(2): [
            PSK, "192.0.2.2:51820", "10.244.2.0/24,fd00:10:244:2::/64", "0", "0", "0", "25",
        ],
        key_number(3): ["(none)", "[2001:db8::3]:51820", "10.244.3.0/24", "0", "0", "0", "off"],
    }  # fmt: skip
    link = node.netns.ip("-d", "link", "show", DEV)
    assert "mtu 1420" in link
    assert f"alias {LINK.alias}" in link
    assert ",UP" in link


def test_what_is_there_is_read(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    state = node.kernel.read([])
    for item in (*node.own[1:], *PEERS):
        assert state[item.key] == item
    assert node.kernel.read_dev(DEV, [])[PEERS[0].key] == PEERS[0]
    assert node.reconcile(*node.own, *PEERS) == []


CHANGES: list[tuple[str, tuple[KernelObject, ...]]] = [
    ("another endpoint", (peer_number(2, endpoint=ip_address("192.0.2.9"), port=7), *PEERS[1:])),
    ("no secret any more", (peer_number(2, keepalive_s=25), *PEERS[1:])),
    ("another keepalive", (peer_number(2, psk=Secret(PSK)), *PEERS[1:])),
    ("a prefix less", (PEERS[0], *PEERS[2:])),
    ("a prefix more", (*PEERS, allowed("10.244.9.0/24", 3))),
    ("a prefix moves to another peer", (*PEERS[:4], allowed("10.244.3.0/24", 2))),
    ("a peer less", PEERS[:3]),
    ("a peer with another key", (*PEERS[:3], peer_number(4), allowed("10.244.3.0/24", 4))),
    ("nobody", ()),
]


@pytest.mark.parametrize("wanted", [pytest.param(wanted, id=name) for name, wanted in CHANGES])
def test_a_change_is_made_and_nothing_else(
    node: WireguardNode, wanted: tuple[KernelObject, ...]
) -> None:
    node.reconcile(*node.own, *PEERS)
    before = node.processes()
    node.reconcile(*node.own, *wanted)
    state = node.kernel.read([])
    kinds = (WireguardPeer, AllowedIp)
    assert {item for item in state.values() if isinstance(item, kinds)} == set(wanted)
    assert node.processes() == before


def test_what_somebody_changed_is_mended(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    stranger = key_number(99)
    node.wg("set", DEV, "peer", key_number(2), "allowed-ips", "10.99.0.0/16")
    node.wg("set", DEV, "peer", key_number(3), "remove")
    node.wg("set", DEV, "peer", stranger, "allowed-ips", "10.244.2.0/24")
    node.wg("set", DEV, "listen-port", "1234")
    node.reconcile(*node.own, *PEERS)
    assert stranger not in node.peers()
    assert node.peers()[key_number(2)][2] == "10.244.2.0/24,fd00:10:244:2::/64"
    assert node.peers()[key_number(3)][2] == "10.244.3.0/24"
    assert node.wg("show", DEV, "listen-port") == [["51820"]]


def test_a_device_outlives_the_agent(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    before = node.processes()
    node.kernel.close()
    node.restart()
    assert node.reconcile(*node.own, *PEERS) == []
    assert node.processes() == before


def test_a_device_that_goes_is_told_and_made_anew(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    node.kernel.drain()
    node.netns.ip("link", "delete", DEV)
    assert DeviceChanged(DEV) in node.next_events()
    assert link_key(DEV) not in node.kernel.read([])
    assert len(node.reconcile(*node.own, *PEERS)) == len(node.own) + len(PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}


def test_a_bad_operation_fails_alone(node: WireguardNode) -> None:
    node.reconcile(*node.own)
    foreign = WireguardDevice(dev=DEV, public_key=key_number(7), listen_port=9)
    node.tracker.desire(("test",), (LINK, foreign, *PEERS))
    operations = node.tracker.plan()
    outcomes = dict(zip((op.key for op in operations), node.kernel.apply(operations), strict=True))
    refused = outcomes.pop(foreign.key)
    assert isinstance(refused, KernelError)
    assert str(node.key.path) in str(refused)
    assert set(outcomes.values()) == {None}
    assert len(node.peers()) == 2


def test_secrets_are_for_root_alone(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    private = node.key.private()
    hidden = (private.hex(), b64encode(private).decode(), PSK, b64decode(PSK).hex())
    for pid in node.processes():
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
            assert not any(each in text for each in hidden)
    for file in node.directory.rglob("*.log"):
        assert not any(each in file.read_text() for each in hidden)
    assert (node.directory / "wireguard").stat().st_mode & 0o077 == 0
    assert not any(each in repr(node.kernel.read([])) for each in hidden)


def test_hundreds_of_peers(node: WireguardNode) -> None:
    keys = [b64encode(number.to_bytes(32, "big")).decode() for number in range(1, 701)]
    many: list[KernelObject] = []
    for number, key in enumerate(keys):
        subnet = ip_network(f"10.{100 + number // 256}.{number % 256}.0/24")
        many.append(replace(peer_number(2), public_key=key))
        many.append(AllowedIp(DEV, subnet, key))
    node.reconcile(*node.own, *many)
    assert len(node.peers()) == 700
    assert node.reconcile(*node.own, *many) == []


def test_two_nodes_on_one_file_system_do_not_meet(make_netns: MakeNetns, tmp_path: Path) -> None:
    with (
        running(WireguardNode(make_netns(), tmp_path / "a")) as one,
        running(WireguardNode(make_netns(), tmp_path / "b")) as other,
    ):
        one.reconcile(*one.own, *PEERS)
        other.reconcile(*other.own)
        assert len(one.peers()) == 2
        assert other.peers() == {}
        assert one.key.public() != other.key.public()
