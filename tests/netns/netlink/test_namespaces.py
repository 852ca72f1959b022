"""Namespaces: made, entered, left, named and deleted, and seen alike by iproute2.

Threads of their own enter them; the test's thread stays at home.
"""

import errno
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from netns.conftest import MakeNetns, Netns, run
from netns.netlink.conftest import open_fds
from podway.netlink import (
    NamespaceLostError,
    NetlinkSocket,
    NetnsError,
    create_named_netns,
    current_identity,
    delete_named_netns,
    dump_links,
    entered,
    identity,
    list_named_netns,
    open_current_netns,
    open_named_netns,
    open_netns,
    open_netns_of_pid,
)

T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> T:
    """Return what *work* returns in a thread that ends with it; raise what it raises."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.fixture
def name() -> Iterator[str]:
    """Return a free name; a namespace that the test gives it is deleted."""
    free = f"pwtest-{uuid.uuid4().hex[:12]}"
    yield free
    if Path(f"/run/netns/{free}").exists():
        run("ip", "netns", "delete", free)


def test_the_three_ways_to_open_one(netns: Netns) -> None:
    with subprocess.Popen(
        ["nsenter", f"--net={netns.path}", "sh", "-c", "echo in; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        fds = [
            open_netns(netns.path),
            open_named_netns(netns.name),
            open_netns_of_pid(process.pid),
        ]
        try:
            assert {identity(fd) for fd in fds} == {identity(netns.fd)}
            assert not any(os.get_inheritable(fd) for fd in fds)
        finally:
            for fd in fds:
                os.close(fd)
        process.communicate(b"\n")


def test_what_cannot_be_opened() -> None:
    with pytest.raises(NetnsError) as caught:
        open_netns("/run/netns/no-such-namespace")
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ENOENT, True)
    with pytest.raises(NetnsError) as caught:
        open_netns_of_pid(2**22 + 1)
    assert caught.value.is_not_found


def test_entering_moves_the_calling_thread_and_no_other(netns: Netns) -> None:
    home = current_identity()
    inside, go_on = threading.Event(), threading.Event()

    def work() -> tuple[tuple[int, int], tuple[int, int]]:
        with entered(netns.fd):
            there = current_identity()
            inside.set()
            go_on.wait()
        return there, current_identity()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        inside.wait()
        here = current_identity()
        go_on.set()
        assert future.result() == (identity(netns.fd), home)
    assert here == home != identity(netns.fd)


def test_home_again_after_an_exception(netns: Netns) -> None:
    def work() -> tuple[int, int]:
        with pytest.raises(ZeroDivisionError), entered(netns.fd):
            raise ZeroDivisionError
        return current_identity()

    assert in_thread(work) == current_identity()


def test_namespaces_nest(make_netns: MakeNetns) -> None:
    first, second = make_netns(), make_netns()

    def work() -> list[tuple[int, int]]:
        with entered(first.fd):
            with entered(second.fd):
                inner = current_identity()
            outer = current_identity()
        return [inner, outer, current_identity()]

    assert in_thread(work) == [identity(second.fd), identity(first.fd), current_identity()]


def test_what_is_no_namespace_is_not_entered(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDONLY)
    before = open_fds()

    def work() -> tuple[int, int]:
        with pytest.raises(NetnsError) as caught, entered(fd):
            pass
        assert caught.value.errno == errno.EINVAL
        assert caught.value.hint
        return current_identity()

    try:
        assert in_thread(work) == current_identity()
        assert open_fds() == before
    finally:
        os.close(fd)


def test_a_thread_that_cannot_go_home_ends(netns: Netns, tmp_path: Path) -> None:
    no_namespace = os.open(tmp_path / "file", os.O_CREAT | os.O_RDONLY)
    went_on: list[bool] = []

    def work() -> None:
        visit = entered(netns.fd)
        try:
            with visit:
                os.dup2(no_namespace, visit._home)
        except Exception:  # noqa: BLE001  # what careless code would catch
            went_on.append(True)
        went_on.append(True)

    before = open_fds()
    try:
        with pytest.raises(NamespaceLostError) as caught:
            in_thread(work)
        assert "ends" in str(caught.value)
        assert went_on == []
        assert open_fds() == before
    finally:
        os.close(no_namespace)


def test_a_named_namespace_is_one_for_iproute2_too(name: str) -> None:
    home = current_identity()
    create_named_netns(name)
    assert current_identity() == home
    assert name in list_named_netns()
    assert name in run("ip", "netns", "list")
    devices = run("ip", "netns", "exec", name, "ls", "/sys/class/net").split()
    assert "lo" in devices
    fd = open_named_netns(name)
    try:
        assert identity(fd) != home
        with NetlinkSocket(netns_fd=fd) as netlink:
            assert sorted(link["ifname"] for link in netlink.dump(dump_links())) == devices
    finally:
        os.close(fd)
    delete_named_netns(name)
    assert name not in list_named_netns()
    assert name not in run("ip", "netns", "list")
    assert not Path(f"/run/netns/{name}").exists()


def test_a_namespace_that_iproute2_made_can_be_deleted(name: str) -> None:
    run("ip", "netns", "add", name)
    delete_named_netns(name)
    assert name not in run("ip", "netns", "list")


def test_a_namespace_that_we_made_can_be_deleted_by_iproute2(name: str) -> None:
    create_named_netns(name)
    run("ip", "netns", "delete", name)
    assert name not in list_named_netns()


def test_a_name_is_taken_once(name: str) -> None:
    create_named_netns(name)
    fd = open_named_netns(name)
    try:
        with pytest.raises(NetnsError) as caught:
            create_named_netns(name)
        assert caught.value.is_exists
        again = open_named_netns(name)
        try:
            assert identity(again) == identity(fd)
        finally:
            os.close(again)
    finally:
        os.close(fd)


def test_deleting_a_name_that_is_not_there(name: str) -> None:
    with pytest.raises(NetnsError) as caught:
        delete_named_netns(name)
    assert caught.value.is_not_found


def test_a_name_left_behind_without_its_mount_can_be_deleted(name: str) -> None:
    create_named_netns(name)
    run("umount", f"/run/netns/{name}")
    delete_named_netns(name)
    assert name not in list_named_netns()


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a\0b", "x" * 256])
def test_impossible_names(bad: str) -> None:
    for operation in (create_named_netns, delete_named_netns, open_named_netns):
        with pytest.raises(NetnsError) as caught:
            operation(bad)
        assert caught.value.errno in {errno.EINVAL, errno.ENAMETOOLONG}


def test_many_at_once(name: str) -> None:
    names = [f"{name}-{n}" for n in range(8)]
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").count(" /run/netns ")
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(create_named_netns, names))
        assert set(names) <= set(list_named_netns())
        after = Path("/proc/self/mountinfo").read_text(encoding="utf-8").count(" /run/netns ")
        assert after == max(mounts, 1)
    finally:
        for made in set(names) & set(list_named_netns()):
            delete_named_netns(made)


def test_the_current_namespace_has_a_descriptor() -> None:
    fd = open_current_netns()
    try:
        assert identity(fd) == current_identity()
    finally:
        os.close(fd)
