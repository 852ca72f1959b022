"""A netlink socket in a namespace, and a veth pair in it to hang things on."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from netns.conftest import Netns
from podway.netlink import NetlinkSocket, get_link

IndexOf = Callable[[str], int]


@pytest.fixture
def netlink(netns: Netns) -> Iterator[NetlinkSocket]:
    """Return a socket of the code under test in the test's namespace."""
    with NetlinkSocket(netns_fd=netns.fd) as socket:
        yield socket


@pytest.fixture
def index_of(netlink: NetlinkSocket) -> IndexOf:
    """Return a function that gives the index of a device by its name."""

    def find(name: str) -> int:
        link = netlink.request(get_link({"ifname": name}))
        assert link is not None
        return link["index"]

    return find


@pytest.fixture
def veth(netns: Netns, index_of: IndexOf) -> int:
    """Return the index of ``v0``, one end of a veth pair; both ends are up."""
    netns.ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    netns.ip("link", "set", "v0", "up")
    netns.ip("link", "set", "v1", "up")
    return index_of("v0")


def pick(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of *whole* that *part* has, to compare with *part*."""
    return {name: whole.get(name) for name in part}


def open_fds() -> set[str]:
    """Return the descriptors that this process has open, to see that none leaks."""
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}
