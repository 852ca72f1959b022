"""The kernel under test: every test below runs against the one in memory and the real one."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from netns.conftest import MakeNetns
from netns.kernel.worlds import FakeWorld, RealWorld, World  # after the rewrite


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest, make_netns: MakeNetns) -> Iterator[World]:
    """Return a kernel in memory, or the real one in a namespace of the test's own."""
    made: World = FakeWorld() if request.param == "fake" else RealWorld(make_netns(), make_netns)
    with closing(made.kernel):
        yield made


@pytest.fixture
def real(make_netns: MakeNetns) -> Iterator[RealWorld]:
    """Return the real kernel, for what the one in memory cannot show."""
    made = RealWorld(make_netns(), make_netns)
    with closing(made.kernel):
        yield made
