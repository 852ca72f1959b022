"""What ``podway lab exec`` gives to the program that it becomes."""

import sys
from pathlib import Path

import pytest

from podway.cli.lab_exec import environment_of
from podway.lab.specs import LabSpec

BIN = str(Path(sys.executable).parent)
SPEC = LabSpec(name="blue", nodes=(1, 2))
STORE = {"PODWAY_STORE": "tcp:172.30.0.2:7472", "PODWAY_PLAINTEXT": "1"}


@pytest.mark.parametrize(
    ("member", "own"),
    [
        pytest.param(
            "n2", {**STORE, "PODWAY_SOCKET": "/run/podway/lab/blue/n2/run/agent.sock"}, id="node"
        ),
        pytest.param("hub", STORE, id="hub"),
        pytest.param("p1", {}, id="pod"),
        pytest.param("fabric", {}, id="fabric"),
    ],
)
def test_on_a_node_commands_ask_that_node(member: str, own: dict[str, str]) -> None:
    given = environment_of(SPEC, member, {"PATH": "/a:/b", "LANG": "C"})
    assert given == {"PATH": f"/a:/b:{BIN}", **own}


def test_a_path_that_is_not_set_is_the_usual_one() -> None:
    assert environment_of(SPEC, "p1", {})["PATH"].endswith(f"bin:{BIN}")
