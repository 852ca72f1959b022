"""Options of the daemon, as the reference plugin's."""

import argparse
from pathlib import Path

import pytest

from podway.dhcp.main import add_arguments, parse_boolean, parse_duration, run


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    return parser.parse_args(words)


def test_defaults_are_the_originals() -> None:
    options = parse()
    assert (options.socketpath, options.pidfile, options.hostprefix) == (
        "/run/cni/dhcp.sock",
        "",
        "",
    )
    assert (options.timeout, options.resendmax, options.resendtimeout) == (10, 62, 208)
    assert options.broadcast is False
    assert options.probetime == 0.6


def test_one_dash_and_two() -> None:
    words = ("-pidfile=/p", "--hostprefix", "/h", "-timeout", "5s", "-resendmax=1m", "-broadcast")
    options = parse(*words)
    assert (options.pidfile, options.hostprefix, options.timeout) == ("/p", "/h", 5)
    assert (options.resendmax, options.broadcast) == (60, True)
    assert parse("-broadcast=false").broadcast is False
    assert [parse(f"-probetime={each}").probetime for each in ("1s", "0s", "0")] == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), (".5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "0s", "25h", "1s2", "1 s", "1d", "nan"])
def test_durations_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_duration(text)


def test_booleans() -> None:
    assert [parse_boolean(text) for text in ("1", "T", "false")] == [True, True, False]
    with pytest.raises(argparse.ArgumentTypeError):
        parse_boolean("yes")


def test_what_the_daemon_cannot_have(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    usual = (f"-statedir={tmp_path}/state", f"-socketpath={tmp_path}/d.sock")
    for words in (
        (f"-statedir={tmp_path}/file", usual[1]),
        (usual[0], f"-socketpath={tmp_path}/file/d.sock"),
        (usual[0], f"-socketpath={tmp_path}/{'d' * 108}"),
        (*usual, "-pidfile=relative"),
        (*usual, f"-pidfile={tmp_path}/none/pid"),
    ):
        assert run(parse(*words)) == 1
    assert not (tmp_path / "d.sock").exists()
