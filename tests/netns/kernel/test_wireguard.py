"""WireGuard devices, made and kept by Debian's wireguard-go; `wg` is the witness.

The kernels at hand have no WireGuard; where one has it, the same tests use it.
"""

import os
import select
import signal
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kernel_features import why_missing
from netns.conftest import MakeNetns, Netns
from netns.kernel.worlds import PATIENCE_S
from podway.diff.tracker import Tracker
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import DeviceChanged, KernelError, KernelEvent
from podway.kernel.wireguard_keys import WireguardKey, public_key
from podway.model.kernel import (
    WIREGUARD_ALIAS,
    AllowedIp,
    KernelObject,
    Link,
    Wireguard,
    WireguardDevice,
    WireguardPeer,
    link_key,
)
from podway.model.secret import Secret

pytestmark = pytest.mark.root

in_user_space = pytest.mark.skipif(
    why_missing("wireguard") is None, reason="this kernel has WireGuard and starts no process"
)
DEV = "podway-wg"
LINK = Link(name=DEV, kind=Wireguard(), mtu=1420, alias=WIREGUARD_ALIAS)
PSK = b64encode(bytes(range(32))).decode()


def key_number(number: int) -> str:
    return public_key(bytes((number,)) * 32)


def peer_number(number: int, **fields: Any) -> WireguardPeer:
    usual = {"endpoint": ip_address(f"192.0.2.{number}"), "port": 51820}
    return WireguardPeer(dev=DEV, public_key=key_number(number), **{**usual, **fields})


def allowed(prefix: str, number: int) -> AllowedIp:
    return AllowedIp(DEV, ip_network(prefix), key_number(number))


PEERS: tuple[KernelObject, ...] = (
    peer_number(2, psk=Secret(PSK), keepalive_s=25),
    allowed("10.244.2.0/24", 2),
    allowed("fd00:10:244:2::/64", 2),
    peer_number(3, endpoint=ip_address("2001:db8::3")),
    allowed("10.244.3.0/24", 3),
)


class Node:
    """A node's kernel and a witness of its WireGuard devices."""

    def __init__(self, netns: Netns, directory: Path) -> None:
        self.netns, self.directory = netns, directory
        self.key = WireguardKey(directory / "wireguard.key")
        self.kernel = self.open()
        self.tracker = Tracker()
        self.tracker.sweeping = True

    def open(self) -> NodeKernel:
        return NodeKernel(self.netns.fd, run_dir=self.directory, wireguard_key=self.key.path)

    @property
    def own(self) -> tuple[KernelObject, ...]:
        return LINK, WireguardDevice(dev=DEV, public_key=self.key.public(), listen_port=51820)

    def reconcile(self, *objects: KernelObject) -> list[str]:
        """Make it so that there are *objects*; return the operations that it took."""
        self.tracker.desire(("test",), objects)
        self.tracker.observe_all(self.kernel.read(list(self.tracker.wanted())))
        done = []
        while operations := self.tracker.plan():
            for operation, error in zip(operations, self.kernel.apply(operations), strict=True):
                assert error is None, (str(operation), error)
                self.tracker.record(operation, None, 0.0)
                done.append(str(operation))
        return done

    def next_events(self) -> list[KernelEvent]:
        """Return what the kernel tells next."""
        poll = select.poll()
        poll.register(self.kernel.fileno(), select.POLLIN)
        assert poll.poll(PATIENCE_S * 1000)
        return self.kernel.drain()

    def wg(self, *words: str) -> list[list[str]]:
        """Return what ``wg`` says, in fields."""
        script = 'mkdir -p /run/wireguard; mount --bind "$0" /run/wireguard; exec wg "$@"'
        sockets = str(self.directory / "wireguard")
        command = ["unshare", "--mount", "sh", "-ec", script, sockets, *words]
        return [line.split("\t") for line in self.netns.exec(*command).splitlines()]

    def peers(self) -> dict[str, list[str]]:
        return {line[0]: line[1:] for line in self.wg("show", DEV, "dump")[1:]}

    def processes(self) -> list[int]:
        """Return the processes in the namespace."""
        inode = Path(self.netns.path).stat().st_ino
        names = [entry.name for entry in Path("/proc").iterdir()]
        return [pid for pid in map(int, filter(str.isdigit, names)) if is_in(pid, inode)]


def is_in(pid: int, inode: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == inode
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


@pytest.fixture
def node(make_netns: MakeNetns, tmp_path: Path) -> Iterator[Node]:
    with running(Node(make_netns(), tmp_path)) as made:
        yield made


@contextmanager
def running(node: Node) -> Iterator[Node]:
    try:
        yield node
    finally:
        node.kernel.close()
        for pid in node.processes():
            os.kill(pid, signal.SIGKILL)


def test_what_is_wanted_is_there(node: Node) -> None:
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
    assert f"alias {WIREGUARD_ALIAS}" in link
    assert ",UP" in link


def test_what_is_there_is_read(node: Node) -> None:
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
def test_a_change_is_made_and_nothing_else(node: Node, wanted: tuple[KernelObject, ...]) -> None:
    node.reconcile(*node.own, *PEERS)
    before = node.processes()
    node.reconcile(*node.own, *wanted)
    state = node.kernel.read([])
    kinds = (WireguardPeer, AllowedIp)
    assert {item for item in state.values() if isinstance(item, kinds)} == set(wanted)
    assert node.processes() == before


def test_what_somebody_changed_is_mended(node: Node) -> None:
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


def test_a_device_outlives_the_agent(node: Node) -> None:
    node.reconcile(*node.own, *PEERS)
    before = node.processes()
    node.kernel.close()
    node.kernel = node.open()
    node.tracker = Tracker()
    node.tracker.sweeping = True
    assert node.reconcile(*node.own, *PEERS) == []
    assert node.processes() == before


def test_a_device_that_goes_is_told_and_made_anew(node: Node) -> None:
    node.reconcile(*node.own, *PEERS)
    node.kernel.drain()
    node.netns.ip("link", "delete", DEV)
    assert DeviceChanged(DEV) in node.next_events()
    assert link_key(DEV) not in node.kernel.read([])
    assert len(node.reconcile(*node.own, *PEERS)) == len(node.own) + len(PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}


@in_user_space
def test_a_process_that_dies_takes_the_device_along_and_both_are_made_anew(node: Node) -> None:
    node.reconcile(*node.own, *PEERS)
    (before,) = node.processes()
    node.kernel.drain()
    os.kill(before, signal.SIGKILL)
    assert DeviceChanged(DEV) in node.next_events()
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}
    assert before not in node.processes()


@in_user_space
def test_a_device_whose_process_does_not_answer_is_made_anew(node: Node) -> None:
    node.reconcile(*node.own, *PEERS)
    sockets = node.directory / "wireguard"
    (sockets / f"{DEV}.sock").rename(sockets / "lost")
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}


@in_user_space
def test_a_device_is_made_anew_once_the_process_before_has_ended(node: Node) -> None:
    """It would remove the new one's socket, and has the port: here it does not end by itself."""
    node.reconcile(*node.own, *PEERS)
    (before,) = node.processes()
    os.kill(before, signal.SIGSTOP)
    node.netns.ip("link", "delete", DEV)
    node.reconcile(*node.own, *PEERS)
    assert before not in node.processes()
    assert len(node.processes()) == 1
    assert node.peers().keys() == {key_number(2), key_number(3)}


@in_user_space
def test_a_device_that_goes_again_and_again_is_made_anew_at_once(node: Node) -> None:
    for _ in range(4):
        node.reconcile(*node.own, *PEERS)
        node.netns.ip("link", "delete", DEV)
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}
    assert len(node.processes()) == 1


@in_user_space
def test_a_device_that_is_renamed_goes_and_is_made_anew(node: Node) -> None:
    node.reconcile(*node.own, *PEERS)
    node.netns.ip("link", "set", DEV, "down")
    node.netns.ip("link", "set", DEV, "name", "elsewhere")
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}
    assert "elsewhere" not in node.netns.ip("link", "show")


@in_user_space
def test_a_device_without_mark_is_taken_over(node: Node) -> None:
    """As an agent leaves it that is killed right after it started the process."""
    node.reconcile(*node.own)
    before = node.processes()
    node.netns.ip("link", "set", DEV, "alias", "")
    node.reconcile(*node.own, *PEERS)
    assert node.processes() == before
    assert node.peers().keys() == {key_number(2), key_number(3)}


@in_user_space
def test_without_the_program_it_is_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node.tracker.desire(("test",), node.own[:1])
    (error,) = node.kernel.apply(node.tracker.plan())
    assert isinstance(error, KernelError)
    assert "wireguard-go" in str(error)


def test_two_nodes_on_one_file_system_do_not_meet(make_netns: MakeNetns, tmp_path: Path) -> None:
    with (
        running(Node(make_netns(), tmp_path / "a")) as one,
        running(Node(make_netns(), tmp_path / "b")) as other,
    ):
        one.reconcile(*one.own, *PEERS)
        other.reconcile(*other.own)
        assert len(one.peers()) == 2
        assert other.peers() == {}
        assert one.key.public() != other.key.public()


def test_a_bad_operation_fails_alone(node: Node) -> None:
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


def test_secrets_are_for_root_alone(node: Node) -> None:
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


def test_hundreds_of_peers(node: Node) -> None:
    keys = [b64encode(number.to_bytes(32, "big")).decode() for number in range(1, 701)]
    many: list[KernelObject] = []
    for number, key in enumerate(keys):
        subnet = ip_network(f"10.{100 + number // 256}.{number % 256}.0/24")
        many.append(replace(peer_number(2), public_key=key))
        many.append(AllowedIp(DEV, subnet, key))
    node.reconcile(*node.own, *many)
    assert len(node.peers()) == 700
    assert node.reconcile(*node.own, *many) == []
