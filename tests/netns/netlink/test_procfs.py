"""A procfs of one's own: sysctls of the namespace of whoever opens them, mounted nowhere."""

import os
from pathlib import Path

import pytest

from netns.conftest import MakeNetns, Netns
from netns.netlink.conftest import open_fds
from netns.netlink.test_namespaces import in_thread
from podway.netlink import entered, open_netns
from podway.netlink import netns as namespaces
from podway.netlink.procfs import open_procfs

_TTL = "sys/net/ipv4/ip_default_ttl"


def read(procfs: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=procfs)
    try:
        return os.read(fd, 100).decode().strip()
    finally:
        os.close(fd)


def read_in(netns: Netns, procfs: int, name: str) -> str:
    def work() -> str:
        fd = open_netns(str(netns.path))
        try:
            with entered(fd):
                return read(procfs, name)
        finally:
            os.close(fd)

    return in_thread(work)


def test_one_procfs_shows_every_namespace_its_own(make_netns: MakeNetns) -> None:
    ours, theirs = make_netns(), make_netns()
    ours.exec("sysctl", "-qw", "net.ipv4.ip_default_ttl=77")
    theirs.exec("sysctl", "-qw", "net.ipv4.ip_default_ttl=88")
    procfs = open_procfs()
    try:
        found = [read_in(ours, procfs, _TTL), read_in(theirs, procfs, _TTL)]
    finally:
        os.close(procfs)
    assert found == ["77", "88"]


def test_it_is_mounted_nowhere_and_goes_with_its_descriptor() -> None:
    mounts, fds = Path("/proc/self/mountinfo").read_text(), open_fds()
    procfs = open_procfs()
    try:
        assert os.fstat(procfs).st_dev != Path("/proc").stat().st_dev
        assert Path("/proc/self/mountinfo").read_text() == mounts
    finally:
        os.close(procfs)
    assert open_fds() == fds


def test_where_none_can_be_made_it_is_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(namespaces._functions, "fsopen", lambda *_: -1)
    procfs = open_procfs()
    try:
        assert os.fstat(procfs).st_dev == Path("/proc").stat().st_dev
        assert read(procfs, _TTL) == Path("/proc", _TTL).read_text().strip()
    finally:
        os.close(procfs)
