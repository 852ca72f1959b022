"""podway under flanneld's name."""

import sys

import pytest

from podway import __version__
from podway.cli.flanneld import run_flanneld, settings_of
from podway.cli.main import main


def test_the_version_as_flanneld_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flanneld", "--version"]) == 0
    assert capsys.readouterr().err == f"podway {__version__}\n"


def test_by_the_programs_own_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/bin/flanneld", "-help"])
    assert main() == 0
    assert "Usage: flanneld" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["-nope"], 2, "flag provided but not defined: -nope"),
        (["-public-ip", "x"], 1, "-public-ip"),
        (["-kube-subnet-mgr"], 1, "NODE_NAME"),
    ],
)
def test_what_is_wrong_is_told(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_flanneld(words, {}) == code
    assert told in capsys.readouterr().err


def test_a_password_reaches_the_store_alone() -> None:
    from podway.agent.flanneld import translate  # noqa: PLC0415

    environ = {"PODWAY_NODE": "n1", "FLANNELD_ETCD_PASSWORD": "secret"}
    said = translate(["-etcd-username=u"], environ)
    settings = settings_of(said, environ)
    assert environ["PODWAY_STORE_PASSWORD"] == "secret"
    assert "secret" not in repr(settings)
