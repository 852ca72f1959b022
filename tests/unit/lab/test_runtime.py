"""The pure part of the lab's container runtime: where pods go, what the plugin said."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.lab.errors import PluginFailed
from podway.lab.plugin_calls import configuration, parse_answer
from podway.lab.pod_networks import Attachment, plugin_chain
from podway.lab.runtime import free_names, spread
from podway.lab.specs import LabSpec
from podway.lab.state import Pod

SPEC = LabSpec(name="blue", nodes=(1, 2, 3))


def pod(name: str, node: str) -> Pod:
    return Pod(name=name, node=node, container_id="0" * 64, result={})


def test_spread_fills_the_emptiest_first() -> None:
    present = [pod("p1", "n1"), pod("p2", "n1"), pod("p3", "n3")]
    assert spread(SPEC, present, 5) == ["n2", "n2", "n3", "n1", "n2"]


@given(st.lists(st.sampled_from(["n1", "n2", "n3"]), max_size=9), st.integers(0, 40))
def test_spread_ends_even(nodes: list[str], count: int) -> None:
    present = [pod(f"x{at}", node) for at, node in enumerate(nodes)]
    load = Counter([*nodes, *spread(SPEC, present, count + 18)])
    assert max(load.values()) - min(load.values()) <= 1


@given(st.sets(st.integers(1, 12)), st.integers(0, 12))
def test_free_names_are_free_and_least(taken: set[int], count: int) -> None:
    names = free_names([pod(f"p{number}", "n1") for number in taken], count)
    free = [number for number in range(1, 25) if number not in taken]
    assert names == [f"p{number}" for number in free[:count]]


def test_configuration_names_the_nodes_own_agent() -> None:
    (plugin,) = plugin_chain(SPEC, "n2", Attachment())
    document = configuration("podway", plugin, {"ips": []})
    assert document["agentSocket"] == "/run/podway/lab/blue/n2/run/cni.sock"
    assert document["prevResult"] == {"ips": []}
    assert "prevResult" not in configuration("podway", plugin)


def test_addresses_of_a_pod() -> None:
    result = {"ips": [{"address": "10.244.1.2/24"}, {"address": "fd00::2/64"}]}
    one = Pod(name="p1", node="n1", container_id="0", result=result)
    assert [str(address) for address in one.addresses] == ["10.244.1.2", "fd00::2"]


@pytest.mark.parametrize(
    ("exit_code", "stdout", "code"),
    [
        pytest.param(
            1, json.dumps({"code": 11, "msg": "away", "details": "x"}), 11, id="an error as in SPEC"
        ),
        pytest.param(1, "", 0, id="nothing"),
        pytest.param(139, "Segmentation fault", 0, id="no JSON"),
        pytest.param(0, "oops", 0, id="no JSON, though it says success"),
    ],
)
def test_plugin_errors(exit_code: int, stdout: str, code: int) -> None:
    with pytest.raises(PluginFailed) as caught:
        parse_answer("ADD of pod p1 on n1", exit_code, stdout.encode())
    assert caught.value.code == code


def test_plugin_results() -> None:
    assert parse_answer("DEL", 0, b"") == {}
    assert parse_answer("ADD", 0, b'{"ips": []}') == {"ips": []}
