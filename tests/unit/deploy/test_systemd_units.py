"""The units of deploy/systemd: systemd knows every word, and the programs their arguments."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from podway.cli.main import full_parser

UNITS = sorted((Path(__file__).parents[3] / "deploy" / "systemd").iterdir())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
PROGRAM = "/usr/local/bin/podway"
# What each unit's own comment gives as an example.
EXAMPLES = {
    "PODWAY_HUB_ARGUMENTS": "--listen=tcp:192.0.2.10:7472 --tls-ca=/a --tls-cert=/b --tls-key=/c",
    "PODWAY_DHCP_ARGUMENTS": "-broadcast -resendtimeout=60s",
}


def settings(path: Path) -> dict[str, list[str]]:
    """Return the settings of a unit by name; sections do not matter here."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_what_is_there() -> None:
    names = {path.name for path in UNITS}
    assert names == {
        "podway-agent.service",
        "podway-dhcp.service",
        "podway-dhcp.socket",
        "podway-hub.service",
    }


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_knows_every_word(path: Path, tmp_path: Path) -> None:
    """Warnings count: an unknown setting is passed over, a limit misspelt is none."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / path.name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
@pytest.mark.parametrize("with_example", [False, True])
def test_the_program_knows_its_arguments(path: Path, *, with_example: bool) -> None:
    (line,) = settings(path)["ExecStart"]
    for variable, example in EXAMPLES.items():
        line = line.replace(f"${variable}", example if with_example else "")
    assert "$" not in line
    program, *words = shlex.split(line)
    assert program == PROGRAM
    parsed = full_parser().parse_args(words)
    assert path.name == f"podway-{parsed.command}.service"


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_nothing_secret_is_open_to_others(path: Path) -> None:
    unit = settings(path)
    assert unit["StateDirectoryMode"] == ["0700"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["Type"] == ["notify"]
