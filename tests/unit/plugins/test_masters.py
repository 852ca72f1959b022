"""Which device the default route leads through."""

from typing import Any

import pytest

from podway.plugins.masters import default_oif

DEFAULT = {"dst_len": 0, "oif": 2}


@pytest.mark.parametrize(
    ("routes", "index"),
    [
        pytest.param([], None, id="no routes"),
        pytest.param([{"dst_len": 24, "oif": 3}], None, id="no default route"),
        pytest.param([{"dst_len": 24, "oif": 3}, DEFAULT], 2, id="one"),
        pytest.param([DEFAULT, {"dst_len": 0, "oif": 9}], 2, id="the first of several"),
        pytest.param([{"dst_len": 0}, DEFAULT], 2, id="one that leads nowhere"),
        pytest.param(
            [{"dst_len": 0, "multipath": [{"ifindex": 5}, {"ifindex": 6}]}], 5, id="several ways"
        ),
    ],
)
def test_default_oif(routes: list[Any], index: int | None) -> None:
    assert default_oif(routes) == index
