"""wireguard-go in the kernel's place: a process that dies, lingers, is silent or is not there."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_features import why_missing
from netns.conftest import MakeNetns
from netns.kernel.wireguard_nodes import DEV, PEERS, WireguardNode, key_number, running
from podway.diff.operations import Operation, Verb
from podway.kernel import wireguard_process
from podway.kernel.protocol import DeviceChanged, KernelError

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        why_missing("wireguard") is None, reason="this kernel has WireGuard and starts no process"
    ),
]


@pytest.fixture
def node(make_netns: MakeNetns, tmp_path: Path) -> Iterator[WireguardNode]:
    with running(WireguardNode(make_netns(), tmp_path)) as made:
        yield made


def test_a_process_that_dies_takes_the_device_along_and_both_are_made_anew(
    node: WireguardNode,
) -> None:
    node.reconcile(*node.own, *PEERS)
    (before,) = node.processes()
    node.kernel.drain()
    os.kill(before, signal.SIGKILL)
    assert DeviceChanged(DEV) in node.next_events()
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}
    assert before not in node.processes()


def test_a_device_whose_process_does_not_answer_is_made_anew(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    sockets = node.directory / "wireguard"
    (sockets / f"{DEV}.sock").rename(sockets / "lost")
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}


def test_a_device_is_made_anew_once_the_process_before_has_ended(node: WireguardNode) -> None:
    """It would remove the new one's socket, and has the port: here it does not end by itself."""
    node.reconcile(*node.own, *PEERS)
    (before,) = node.processes()
    os.kill(before, signal.SIGSTOP)
    node.netns.ip("link", "delete", DEV)
    node.reconcile(*node.own, *PEERS)
    assert before not in node.processes()
    assert len(node.processes()) == 1
    assert node.peers().keys() == {key_number(2), key_number(3)}


def test_a_device_that_goes_again_and_again_is_made_anew_at_once(node: WireguardNode) -> None:
    for _ in range(4):
        node.reconcile(*node.own, *PEERS)
        node.netns.ip("link", "delete", DEV)
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}
    assert len(node.processes()) == 1


def test_a_device_that_is_renamed_goes_and_is_made_anew(node: WireguardNode) -> None:
    node.reconcile(*node.own, *PEERS)
    node.netns.ip("link", "set", DEV, "down")
    node.netns.ip("link", "set", DEV, "name", "elsewhere")
    node.reconcile(*node.own, *PEERS)
    assert node.peers().keys() == {key_number(2), key_number(3)}
    assert "elsewhere" not in node.netns.ip("link", "show")


def test_a_device_without_mark_is_taken_over(node: WireguardNode) -> None:
    """As an agent leaves it that is killed right after it started the process."""
    node.reconcile(*node.own)
    before = node.processes()
    node.netns.ip("link", "set", DEV, "alias", "")
    node.reconcile(*node.own, *PEERS)
    assert node.processes() == before
    assert node.peers().keys() == {key_number(2), key_number(3)}


def test_without_the_program_it_is_refused(
    node: WireguardNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node.tracker.desire(("test",), node.own[:1])
    (error,) = node.kernel.apply(node.tracker.plan())
    assert isinstance(error, KernelError)
    assert "wireguard-go" in str(error)


def test_one_that_does_not_come_to_start_is_refused_and_ended(
    node: WireguardNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "wireguard-go"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec /bin/sleep 4712\n")
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(program.parent))
        patched.setattr(wireguard_process, "_START_S", 1.0)
        link = node.own[0]
        (error,) = node.kernel.apply([Operation(Verb.CREATE, link.key, link)])
    assert isinstance(error, KernelError)
    assert error.errno == errno.ETIMEDOUT
    node.reconcile(*node.own, *PEERS)
    assert len(node.processes()) == 1
