"""Two nodes on one link, for tests of the user-space tunnel."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from netns.conftest import MakeNetns

pytest.register_assert_rewrite("netns.udp.worlds")

from netns.udp.worlds import Node, compile_relay  # noqa: E402  # after the rewrite


@pytest.fixture
def nodes(make_netns: MakeNetns, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Return two nodes whose eth0 are the ends of one cable."""
    first, second = make_netns(), make_netns()
    first.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second.name)
    with ExitStack() as stack:
        made = Node(first, 1, tmp_path, stack), Node(second, 2, tmp_path, stack)
        for each in made:
            each.wait_until_reached()
        yield made


@pytest.fixture
def node(nodes: tuple[Node, Node]) -> Node:
    """Return the first node, with its tunnel's device."""
    nodes[0].make_tunnel()
    return nodes[0]


@pytest.fixture
def other(nodes: tuple[Node, Node]) -> Node:
    """Return the second node, without anything."""
    return nodes[1]


@pytest.fixture(scope="session")
def relay_in_c(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the program of the relay that follows flannel's wire rules."""
    return compile_relay(tmp_path_factory.mktemp("relay"))
