"""The relay's process: what it may do, how it starts and fails to, and how it ends."""

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netns.udp.worlds import DEV, PATIENCE_S, PORT, Node, address4, inside, peer4, peer6
from podway.udp.control import ControlError, RelayClient
from podway.udp.launch import start_relay
from podway.udp.tun import await_link, open_tun


def pids_in(node: Node) -> list[int]:
    """Return the processes in the namespace of *node*."""
    inode = Path(node.netns.path).stat().st_ino
    names = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(name) for name in names if _is_in(Path("/proc") / name, inode)]


def _is_in(process: Path, inode: int) -> bool:
    try:
        return (process / "ns/net").stat().st_ino == inode
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def wait_for_end(relay: RelayClient) -> None:
    poll = select.poll()
    poll.register(relay.fileno(), select.POLLIN)
    assert poll.poll(PATIENCE_S * 1000)
    assert relay.has_ended()


def test_it_has_no_privilege_left(node: Node) -> None:
    node.start()
    (pid,) = pids_in(node)
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == set(fields["Gid"].split()) == {"65534"}
    assert fields["Groups"].strip() == ""
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}


def test_a_root_that_may_not_become_somebody_else_gives_up_its_capabilities(node: Node) -> None:
    without = ["setpriv", "--bounding-set=-setuid,-setgid,-setpcap"]
    config = json.dumps(node.config._asdict())
    command = [*without, sys.executable, "-m", "podway.udp.main", node.path, config]
    inside(node.netns, lambda: subprocess.run(command, check=True))
    (pid,) = pids_in(node)
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {"0"}
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}
    relay = RelayClient(node.path)
    relay.stop()
    relay.close()


def test_only_its_owner_may_tell_it_anything(node: Node) -> None:
    node.start()
    assert Path(node.path).stat().st_mode & 0o777 == 0o600


def test_it_tells_what_it_was_told(node: Node) -> None:
    relay = node.start(peer4(2, segments=True), peer6(3))
    assert relay.state() == (node.config, [peer4(2, segments=True), peer6(3)])
    again = RelayClient(node.path)
    assert again.state() == relay.state()
    again.close()
    assert not relay.has_ended()


def test_it_goes_on_without_anybody(node: Node, other: Node) -> None:
    relay = node.start(peer4(2))
    relay.close()
    peer = other.bound(address4(2))
    node.bound("10.244.1.0", 4242).sendto(b"x", ("10.244.2.0", 53))
    assert peer.recv(2048).endswith(b"x")
    later = RelayClient(node.path)
    assert later.counters()["sent_packets"] == 1
    later.stop()
    later.close()


def test_it_ends_with_its_device(node: Node) -> None:
    relay = node.start()
    node.netns.ip("link", "delete", DEV)
    wait_for_end(relay)


def test_the_first_packet_is_not_lost(node: Node) -> None:
    """A device that nobody had open drops all that it gets for some moments after."""
    sender = node.bound("10.244.1.0", 4242)
    for number in range(5):
        tun = inside(node.netns, lambda: open_tun(DEV))
        try:
            inside(node.netns, lambda: await_link(DEV))
            sender.sendto(bytes([number]), ("10.244.2.0", 53))
            assert select.select([tun], [], [], PATIENCE_S)[0]
            assert os.read(tun, 2048).endswith(bytes([number]))
        finally:
            os.close(tun)
        node.wait_for_link(DEV, "DOWN")


def test_a_device_that_is_down_is_not_waited_for(node: Node) -> None:
    node.netns.ip("link", "set", DEV, "down")
    tun = inside(node.netns, lambda: open_tun(DEV))
    inside(node.netns, lambda: await_link(DEV))
    os.close(tun)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        inside(node.netns, lambda: await_link("podway9"))
    assert caught.value.errno == errno.ENODEV


def test_it_outlives_its_device_being_down(node: Node, other: Node) -> None:
    relay = node.start(peer4(2))
    node.netns.ip("link", "set", DEV, "down")
    peer = other.bound(address4(2))
    peer.sendto(b"\x45" + bytes(30), (address4(1), PORT))
    node.netns.ip("link", "set", DEV, "up")
    node.netns.ip("route", "replace", "10.244.0.0/16", "dev", DEV)
    node.bound("10.244.1.0", 4242).sendto(b"x", ("10.244.2.0", 53))
    assert peer.recv(2048).endswith(b"x")
    assert not relay.has_ended()


def test_its_device_stays_when_it_is_killed(node: Node) -> None:
    relay = node.start()
    (pid,) = pids_in(node)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(relay)
    assert "10.244.0.0/16" in node.netns.ip("route", "show", "dev", DEV)
    assert node.start().state() == (node.config, [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"dev": "podway9"}, errno.ENODEV, id="no such device"),
        pytest.param({"addresses": ("192.0.2.99",)}, errno.EADDRNOTAVAIL, id="not our address"),
        pytest.param({"port": 7777}, errno.EADDRINUSE, id="port in use"),
        pytest.param({"addresses": ("nonsense",)}, errno.EINVAL, id="no address"),
        pytest.param({"subnets": ("10.244.1.1/24",)}, errno.EINVAL, id="no prefix"),
    ],
)
def test_it_says_why_it_does_not_start(
    node: Node, fields: dict[str, object], expected: int
) -> None:
    node.bound(address4(1), 7777)
    config = node.config._replace(**fields)  # type: ignore[arg-type]
    with pytest.raises(OSError) as caught:  # noqa: PT011
        inside(node.netns, lambda: start_relay(node.path, config))
    assert caught.value.errno == expected
    assert pids_in(node) == []


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({"op": "fly"}, id="unknown"),
        pytest.param({}, id="nothing"),
        pytest.param({"op": "set", "peers": [["10.244.2.0/24"]]}, id="half a peer"),
        pytest.param(
            {"op": "set", "peers": [["10.244.2.1/24", ["192.0.2.2", 1], True]]}, id="host bits"
        ),
        pytest.param({"op": "set", "peers": 7}, id="no list"),
        pytest.param({"op": "delete", "prefixes": "x"}, id="no list of prefixes"),
    ],
)
def test_what_is_no_request_changes_nothing(node: Node, request_: dict[str, object]) -> None:
    relay = node.start(peer4(2))
    with pytest.raises(ControlError):
        relay.ask(request_)
    assert relay.state() == (node.config, [peer4(2)])


def test_a_request_in_pieces_and_many_at_once(node: Node) -> None:
    node.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.connect(node.path)
        agent.sendall(b'{"op":"coun')
        agent.sendall(b'ters"}\n{"op":"counters"}\nnonsense\n')
        answers = agent.makefile("rb")
        assert [b"counters" in answers.readline() for _ in range(3)] == [True, True, False]
        answers.close()
