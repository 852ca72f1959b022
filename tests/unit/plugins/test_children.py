"""Devices that are part of another one: what the kernel is asked for."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.plugins.children import Child, compute_link

MASTER: Any = {"index": 7, "ifname": "up0", "mtu": 1400}
MAC = "0a:00:00:00:00:01"


def child(**told: Any) -> Child:
    usual = {"kind": "macvlan", "master": "", "link_in_container": False, "mtu_bytes": 0}
    return Child(**{**usual, "data": {"mode": 4}, **told})


@pytest.mark.parametrize(
    ("told", "message"),
    [
        pytest.param({}, {"linkinfo": {"kind": "macvlan", "data": {"mode": 4}}}, id="defaults"),
        pytest.param(
            {"kind": "vlan", "data": {"id": 7}},
            {"linkinfo": {"kind": "vlan", "data": {"id": 7}}},
            id="another kind",
        ),
        pytest.param(
            {"mtu_bytes": 1400, "mac": MAC, "data_if_told": {"bc_queue_len": 5}},
            {
                "mtu": 1400,
                "address": MAC,
                "linkinfo": {"kind": "macvlan", "data": {"mode": 4, "bc_queue_len": 5}},
            },
            id="everything",
        ),
    ],
)
def test_link(told: dict[str, Any], message: dict[str, Any]) -> None:
    assert compute_link(child(**told), MASTER) == {"link": 7, **message}


def test_larger_than_the_master() -> None:
    with pytest.raises(CniError, match=r"^mtu = 1401: .*up0, 1400 bytes") as caught:
        compute_link(child(mtu_bytes=1401), MASTER)
    assert caught.value.code == INVALID_CONFIG
