"""Tables, colours and plural forms."""

import io

import pytest

from podway.cli.output import Style, counted, elapsed, plural, render_table, style_of

PLAIN = Style()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_table_aligns() -> None:
    rows = [("a", "1"), ("long", "1000")]
    assert render_table(("NAME", "N"), rows, PLAIN) == ["NAME  N", "a     1", "long  1000"]
    assert render_table(("NAME", "N"), rows, PLAIN, right=True) == [
        "NAME     N",
        "a        1",
        "long  1000",
    ]


def test_colours_take_no_room() -> None:
    style = Style(coloured=True)
    plain = render_table(("X", "Y"), [("good", "z")], PLAIN)
    coloured = render_table(("X", "Y"), [(style.good("good"), "z")], style)
    assert coloured[1] == f"{style.good('good')}  z"
    assert plain[1] == "good  z"


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"),
    [
        pytest.param(io.StringIO(), None, False, id="a pipe"),
        pytest.param(Terminal(), None, True, id="a terminal"),
        pytest.param(Terminal(), "1", False, id="a terminal, NO_COLOR"),
        pytest.param(Terminal(), "", True, id="a terminal, NO_COLOR empty"),
    ],
)
def test_colours(
    stream: io.StringIO, no_color: str | None, *, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if no_color is None:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert style_of(stream) == Style(coloured=coloured)


def test_no_colour_leaves_no_trace() -> None:
    for mark in (PLAIN.good, PLAIN.bad, PLAIN.warn, PLAIN.bold, PLAIN.dim):
        assert mark("text") == "text"
    assert Style(coloured=True).good("") == ""


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "pod", "0 pods"), (1, "pod", "1 pod"), (2, "address", "2 addresses")],
)
def test_plural(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d"), (1e6, "11 d")],
)
def test_elapsed(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        pytest.param(0, "0", id="none"),
        pytest.param(2**32 - 1, "4294967295", id="all of IPv4"),
        pytest.param(2**32 + 5, "2^32", id="more"),
        pytest.param(2**64 - 3, "2^64", id="a /64 with a pod"),
        pytest.param(2**64 - 2**20, "2^64", id="a /64 with a million pods"),
        pytest.param(2**63 + 2**61, "2^63", id="nearer to the power below"),
        pytest.param(2**80 - 2, "2^80", id="a /48"),
    ],
)
def test_counted(count: int, text: str) -> None:
    assert counted(count) == text
