"""``podway uninstall`` and what an agent has running: relays, wireguard-go, sockets and files."""

import os
import shutil
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from kernel_features import why_missing
from netns.cli.places import BLUE, Place, kernel_of, put
from netns.conftest import Netns
from podway.cli.remains import has_ended
from podway.kernel.wireguard_process import PROGRAM
from podway.model.instances import instance_of
from podway.model.kernel import (
    Link,
    Tun,
    UdpRelay,
    Wireguard,
)

pytestmark = pytest.mark.root


def relay(netns: Netns, place: Place, instance: str = "") -> Path:
    """Start a relay as the agent of *instance* does; return its socket."""
    names = instance_of(instance)
    dev, port = f"{names.prefix}0", 8285 if not instance else 8286
    link = Link(name=dev, kind=Tun(), mtu=1472, alias=f"{names.marks.alias}udp")
    config = UdpRelay(dev=dev, port=port, addresses=(ip_address("127.0.0.1"),), subnets=())
    with kernel_of(netns, place.run_dir, instance) as kernel:
        put(kernel, link, config)
    return place.run_dir / "udp" / f"{dev}.sock"


def wireguard(netns: Netns, place: Place, instance: str = "") -> Path:
    """Start wireguard-go as the agent of *instance* does; return its socket."""
    names = instance_of(instance)
    dev = f"{names.prefix}-wg"
    link = Link(name=dev, kind=Wireguard(), mtu=1420, alias=names.marks.wireguard)
    with kernel_of(netns, place.run_dir, instance) as kernel:
        put(kernel, link)
    return place.run_dir / "wireguard" / f"{dev}.sock"


STARTS = (
    pytest.param(relay, id="udp"),
    pytest.param(
        wireguard,
        id="wireguard",
        marks=pytest.mark.skipif(
            why_missing("wireguard") is None or shutil.which(PROGRAM) is None,
            reason="wireguard is the kernel's here, or there is no wireguard-go",
        ),
    ),
)


@pytest.mark.parametrize("start", STARTS)
def test_processes_and_their_files_go_and_those_of_another_instance_stay(
    netns: Netns, tmp_path: Path, start: Callable[..., Path]
) -> None:
    place, blue = Place(tmp_path / "one"), Place(tmp_path / "blue")
    mine, theirs = start(netns, place), start(netns, blue, "blue")
    assert not has_ended(mine, 0.01)
    assert f"file {mine}" in place.answer(netns, "--verify")[1]["left"]
    code, answer = place.answer(netns)
    assert (code, answer["left"]) == (0, [])
    assert f"file {mine}" in answer["removed"]
    assert has_ended(mine)
    assert not place.run_dir.exists()
    assert not has_ended(theirs, 0.01)
    assert f"{BLUE.prefix}" in netns.ip("link", "show")
    assert place.answer(netns, "--verify")[0] == 0
    assert blue.answer(netns, "--instance=blue")[0] == 0
    assert has_ended(theirs)
    assert not blue.run_dir.exists()


def test_a_socket_whose_device_went_before_is_noticed_and_goes(netns: Netns, place: Place) -> None:
    path = relay(netns, place)
    netns.ip("link", "delete", "podway0")
    assert has_ended(path)
    left = [f"file {path}"]
    assert place.answer(netns, "--verify") == (1, {"removed": [], "left": left})
    assert place.answer(netns) == (0, {"removed": left, "left": []})


def test_what_others_have_in_the_run_directory_stays(netns: Netns, place: Place) -> None:
    relay(netns, place)
    (place.run_dir / "hub.sock").touch()
    (place.run_dir / "lab").mkdir()
    assert place.answer(netns)[0] == 0
    assert sorted(each.name for each in place.run_dir.iterdir()) == ["hub.sock", "lab"]


def test_when_a_socket_is_nobodys_any_more(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert not has_ended(path, 0.01)
        # Its process is killed while it is asked.
        child = os.fork()
        if not child:
            listener.accept()
            os._exit(0)
    assert has_ended(path, 10)
    os.waitpid(child, 0)
    assert has_ended(path, 0.01), "a stale socket"
    assert has_ended(tmp_path / "none", 0.01)
