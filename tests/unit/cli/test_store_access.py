"""How commands find the store: by options, else by the variables that the agent has."""

import argparse
from pathlib import Path

import pytest

from podway.cli.main import build_parser
from podway.store.access import access_from

DEFAULT = "unix:/run/podway/hub.sock"
ASKING = (["node", "list"], ["network", "show"], ["network", "apply", "x"])


def parsed(words: list[str]) -> argparse.Namespace:
    return build_parser(words).parse_args(words)


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
@pytest.mark.parametrize(
    ("options", "variable", "url"),
    [
        pytest.param([], None, DEFAULT, id="the usual one"),
        pytest.param([], "tcp:a:1", "tcp:a:1", id="by the environment"),
        pytest.param(["--store=unix:/s"], "tcp:a:1", "unix:/s", id="both"),
        pytest.param([], "", DEFAULT, id="set but empty"),
    ],
)
def test_which_store(
    words: list[str],
    options: list[str],
    variable: str | None,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PODWAY_STORE", raising=False)
    if variable is not None:
        monkeypatch.setenv("PODWAY_STORE", variable)
    assert parsed([*words, *options]).store == url


def test_what_lets_in_comes_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWAY_TLS_CA", "/ca")
    monkeypatch.setenv("PODWAY_PLAINTEXT", "1")
    access = access_from(parsed(["node", "list"]))
    assert (access.tls_ca, access.plaintext) == (Path("/ca"), True)


def test_a_value_that_breaks_a_rule_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODWAY_PLAINTEXT", "perhaps")
    with pytest.raises(SystemExit) as ended:
        parsed(["node", "list"])
    assert ended.value.code == 2
    assert "PODWAY_PLAINTEXT" in capsys.readouterr().err
