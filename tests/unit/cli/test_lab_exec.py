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
    assert given == {"PATH": f"/a:/b:{BIN}", "LANG": "C", "PODWAY_LAB": "blue", **own}


def test_nothing_leads_a_command_on_a_node_to_this_machines_own_agent() -> None:
    """An instance that is named goes before a socket in the environment."""
    before = {"PODWAY_INSTANCE": "red", "PODWAY_TLS_CA": "/ca", "PODWAY_LAB": "red", "PATH": "/a"}
    given = environment_of(SPEC, "n2", before)
    assert given.keys() - {"PATH", "PODWAY_LAB", "PODWAY_SOCKET", *STORE} == set()
    assert given["PODWAY_LAB"] == "blue"


def test_a_path_that_is_not_set_is_the_usual_one() -> None:
    assert environment_of(SPEC, "p1", {})["PATH"].endswith(f"bin:{BIN}")
