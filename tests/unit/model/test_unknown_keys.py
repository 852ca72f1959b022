"""Which keys of a net-conf.json are passed over, and what may have been meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from podway.model.unknown_keys import UnknownKey, find_unknown_keys

NETWORK = {"Network": "10.244.0.0/16"}
EXAMPLES = Path(__file__).parents[3] / "examples" / "net-conf"


@pytest.mark.parametrize(
    ("more", "unknown"),
    [
        pytest.param({}, [], id="none"),
        pytest.param({"subnetlen": 25, "BACKEND": {"type": "udp", "mtu": 0}}, [], id="any case"),
        pytest.param({"SubnetLength": 25}, [("SubnetLength", "SubnetLen")], id="near"),
        pytest.param({"x-comment": "mine"}, [("x-comment", "")], id="near to nothing"),
        pytest.param({"IPv6Network": 5, "IPv6SubnetLen": 6}, [], id="of a family that is off"),
        pytest.param({"EnableNFTables": True}, [], id="flannel's"),
        pytest.param(
            {"Backend": {"Type": "vxlan", "MTUU": 3}},
            [("Backend.MTUU", "Backend.MTU")],
            id="in the backend",
        ),
        pytest.param(
            {"Backend": {"Type": "vxlan"}, "MTU": 1400}, [("MTU", "Backend.MTU")], id="misplaced"
        ),
        pytest.param(
            {"Backend": {"Type": "host-gw", "VNI": 7}}, [("Backend.VNI", "")], id="not this backend"
        ),
        pytest.param(
            {"Networks": ["10.1.0.0/16", {"Network": "10.2.0.0/16", "drained": True}]},
            [("Networks[1].drained", "Networks[1].Drain")],
            id="of a further prefix",
        ),
        pytest.param({"Subnetmn": "", "Subnetlen": 1}, [], id="a text that is refused"),
    ],
)
def test_unknown_keys(more: dict[str, Any], unknown: list[tuple[str, str]]) -> None:
    found = find_unknown_keys(json.dumps({**NETWORK, **more}))
    assert [(each.key, each.nearest) for each in found] == unknown


def test_no_text_is_too_odd() -> None:
    assert find_unknown_keys("[]") == find_unknown_keys(b"{") == ()


def test_a_key_is_told_so_that_it_does_no_harm() -> None:
    (found,) = find_unknown_keys(json.dumps({**NETWORK, "a\x1b[31m\n": 1}))
    assert str(found).isprintable()
    assert "did you mean" not in str(found)
    assert "did you mean Backend.MTU?" in str(UnknownKey("Backend.MTUU", "Backend.MTU"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_examples_have_none(path: Path) -> None:
    assert find_unknown_keys(path.read_bytes()) == ()
