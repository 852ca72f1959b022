"""``podway network check``: what it says of a file, without any store."""

import io
import json
import sys

import pytest

from podway.cli.main import main

TYPED = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan", "MTUU": 3}}


def check(monkeypatch: pytest.MonkeyPatch, document: object, *options: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(document)))
    return main(["network", "check", "-", *options])


def test_unknown_keys_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(monkeypatch, TYPED) == 0
    *_, told, remark = capsys.readouterr().out.splitlines()
    assert told.startswith("'Backend.MTUU'")
    assert told.endswith("did you mean Backend.MTU?")
    assert remark == "- is accepted without 1 key"


def test_unknown_keys_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(monkeypatch, {**TYPED, "zzz": 1}, "--json") == 0
    assert json.loads(capsys.readouterr().out)["unknown_keys"] == [
        {"key": "zzz", "nearest": None},
        {"key": "Backend.MTUU", "nearest": "Backend.MTU"},
    ]


def test_nothing_is_said_of_a_file_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(monkeypatch, {"Network": "10.244.0.0/16"}) == 0
    shown = capsys.readouterr().out
    assert "no key" not in shown
    assert "\n- is in order" in shown
