"""A node over the real kernel, and a pod for it."""

from collections.abc import Iterator

import pytest

from agent.real_nodes import DUAL, RealNode, pods, real_cluster
from netns.conftest import Netns


@pytest.fixture
def node() -> Iterator[RealNode]:
    """A dual-stack VXLAN node with bridged pods, ready."""
    with real_cluster(DUAL) as (_, (made,)):
        made.start()
        made.ready()
        yield made


@pytest.fixture
def pod() -> Iterator[Netns]:
    with pods(1) as (made,):
        yield made
