"""The user-space tunnel through the generic diff: made, read, changed, missed and made again."""

import errno
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from netns.conftest import Netns
from netns.kernel.nodes import Node
from netns.udp.worlds import inside
from podway.diff.operations import Operation, Verb
from podway.kernel.protocol import DeviceChanged
from podway.model.kernel import KernelObject, Link, Tun, UdpPeer, UdpRelay

DEV = "podway0"
LINK = Link(name=DEV, kind=Tun(), mtu=1472, alias="podway:udp")
RELAY = UdpRelay(
    dev=DEV,
    port=8285,
    addresses=(ip_address("127.0.0.1"), ip_address("::1")),
    subnets=(ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
)


def peer(number: int, *, port: int = 8285, segments: bool = True) -> UdpPeer:
    return UdpPeer(
        dev=DEV,
        prefix=ip_network(f"10.244.{number}.0/24"),
        public_ip=ip_address(f"192.0.2.{number}"),
        port=port,
        segments=segments,
    )


PEER6 = UdpPeer(
    dev=DEV,
    prefix=ip_network("fd00:10:244:2::/64"),
    public_ip=ip_address("2001:db8::2"),
    port=8285,
    segments=True,
)
ALL: tuple[KernelObject, ...] = (LINK, RELAY, peer(2), peer(3), PEER6)


def wait_for_change(node: Node) -> None:
    """Wait until the kernel tells that the device is to be looked at."""
    while DeviceChanged(DEV) not in node.next_events():
        pass


@pytest.fixture
def node(netns: Netns, tmp_path: Path) -> Iterator[Node]:
    made = Node(netns, tmp_path)
    with closing(made.kernel):
        yield made
        # The relay goes with its device.
        made.reconcile()


def test_all_of_it_is_made_once_and_read_again(node: Node) -> None:
    assert node.reconcile(*ALL)
    assert node.reconcile(*ALL) == []
    assert len(node.processes()) == 1
    found = node.kernel.read([])
    assert {key: found[key] for key in (item.key for item in ALL[1:])} == {
        item.key: item for item in ALL[1:]
    }


def test_a_witness_sees_the_device(node: Node) -> None:
    node.reconcile(*ALL)
    shown = node.netns.ip("-d", "link", "show", DEV)
    assert "tun type tun" in shown
    assert "vnet_hdr on persist on" in shown
    assert "mtu 1472" in shown


@pytest.mark.parametrize(
    ("after", "operations"),
    [
        pytest.param(
            (LINK, RELAY, peer(2), PEER6), ["delete udppeer podway0 10.244.3.0/24"], id="peer gone"
        ),
        pytest.param((*ALL, peer(4)), ["create udppeer podway0 10.244.4.0/24"], id="peer more"),
        pytest.param(
            (LINK, RELAY, peer(2, segments=False), peer(3), PEER6),
            ["change udppeer podway0 10.244.2.0/24"],
            id="another format",
        ),
        pytest.param(
            (LINK, replace(RELAY, port=9999), *ALL[2:]),
            ["change relay podway0"],
            id="another port: peers stay",
        ),
        pytest.param(
            (replace(LINK, mtu=1372), *ALL[1:]), ["change link podway0"], id="another MTU"
        ),
    ],
)
def test_changes(node: Node, after: tuple[KernelObject, ...], operations: list[str]) -> None:
    node.reconcile(*ALL)
    assert node.reconcile(*after) == operations
    assert node.reconcile(*after) == []
    assert len(node.processes()) == 1


def test_another_agent_finds_what_the_first_one_left(node: Node) -> None:
    node.reconcile(*ALL)
    (pid,) = node.processes()
    with closing(node.open()) as later:
        assert later.read([]) == node.kernel.read([])
    assert node.processes() == [pid]


def test_a_relay_that_is_killed_is_noticed_and_started_again(node: Node) -> None:
    node.reconcile(*ALL)
    (pid,) = node.processes()
    node.kernel.drain()
    os.kill(pid, signal.SIGKILL)
    wait_for_change(node)
    state = node.kernel.read_dev(DEV, list(node.tracker.wanted_on(DEV)))
    assert LINK.key in state
    assert not {item.key for item in ALL[1:]} & state.keys()
    assert len(node.reconcile(*ALL)) == 4
    assert node.processes() not in ([], [pid])


def test_a_relay_that_dies_at_once_is_not_started_at_once(node: Node) -> None:
    node.reconcile(*ALL)
    start = Operation(Verb.CREATE, RELAY.key, desired=RELAY)
    for _ in range(10):
        for pid in node.processes():
            os.kill(pid, signal.SIGKILL)
        wait_for_change(node)
        (error,) = node.kernel.apply([start])
        if error is not None:
            assert error.errno == errno.EAGAIN
            return
    raise AssertionError("it is started as often as it dies")


def test_the_device_takes_the_relay_along(node: Node) -> None:
    node.reconcile(*ALL)
    node.netns.ip("link", "delete", DEV)
    assert not {item.key for item in ALL} & node.kernel.read([]).keys()
    assert node.reconcile(*ALL)
    assert len(node.processes()) == 1


def test_a_port_in_use_is_told(node: Node, netns: Netns) -> None:
    taken = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with closing(taken):
        taken.bind(("127.0.0.1", 8285))
        node.reconcile(LINK)
        (error,) = node.kernel.apply([Operation(Verb.CREATE, RELAY.key, desired=RELAY)])
    assert error is not None
    assert error.errno == errno.EADDRINUSE


def test_without_a_relay_peers_are_refused_and_gone(node: Node) -> None:
    node.reconcile(LINK)
    two = peer(2)
    (made,) = node.kernel.apply([Operation(Verb.CREATE, two.key, desired=two)])
    (gone,) = node.kernel.apply([Operation(Verb.DELETE, two.key, observed=two)])
    assert made is not None
    assert made.errno == errno.ENOTCONN
    assert gone is None


def test_a_foreign_tun_device_of_that_name_is_left_alone(node: Node) -> None:
    node.netns.ip("tuntap", "add", "dev", DEV, "mode", "tun")
    (error,) = node.kernel.apply([Operation(Verb.CREATE, LINK.key, desired=LINK)])
    assert error is not None
    assert error.errno == errno.EEXIST
    node.netns.ip("link", "delete", DEV)
