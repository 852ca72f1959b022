"""Log lines: one per event, whatever is in it, as text and as JSON."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from podway.kernel.logs import LogFormat, LogLevel, configure_logging, get_log

log = get_log("podway.tests")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, podway = logging.getLogger(), logging.getLogger("podway")
    before = (root.handlers[:], root.level, podway.level)
    yield
    root.handlers[:], level, podway_level = before
    root.setLevel(level)
    podway.setLevel(podway_level)


def configured(fmt: LogFormat, level: LogLevel = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, fmt, stream)
    return stream


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("10.9.1.0/24", "10.9.1.0/24", id="plain"),
        pytest.param(7, "7", id="number"),
        pytest.param("", '""', id="empty"),
        pytest.param("two words", '"two words"', id="space"),
        pytest.param('a="b"', '"a=\\"b\\""', id="quotes"),
        pytest.param("a\nINFO forged", '"a\\nINFO forged"', id="second line"),
        pytest.param("\x1b[31m", '"\\u001b[31m"', id="terminal escape"),
        pytest.param("\u2028", '"\\u2028"', id="line separator"),
        pytest.param("Grüße", '"Grüße"', id="letters"),
    ],
)
def test_values_in_text(value: object, shown: str) -> None:
    stream = configured("text")
    log.info("something happened", field=value)
    time, _, rest = stream.getvalue().partition(" ")
    assert rest == f"INFO tests: something happened field={shown}\n"
    assert time.endswith("Z")


def test_json_lines() -> None:
    stream = configured("json")
    log.warning("odd\nevent", node="a\nb", count=3, level="not ours")
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    del document["time"]
    assert document == {
        "level": "warning",
        "component": "podway.tests",
        "event": "odd\nevent",
        "node": "a\nb",
        "count": 3,
    }


def test_an_event_cannot_forge_a_line() -> None:
    stream = configured("text")
    logging.getLogger("podway.tests").error("one\ntwo %s", "three")
    assert stream.getvalue().count("\n") == 1
    assert "one\\ntwo three" in stream.getvalue()


def test_levels() -> None:
    stream = configured("text", "warning")
    log.info("not shown")
    log.warning("shown")
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["WARNING"]
    logging.getLogger("asyncio").info("others are quiet")
    assert stream.getvalue().count("\n") == 1


def test_configuring_twice_writes_once() -> None:
    old, new = configured("text"), configured("text")
    log.info("once")
    assert (old.getvalue(), new.getvalue().count("once")) == ("", 1)


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_a_traceback_is_in_the_same_line(fmt: LogFormat) -> None:
    stream = configured(fmt)
    try:
        dict[str, str]()["lost"]
    except KeyError:
        log.exception("broken")
    (line,) = stream.getvalue().splitlines()
    assert "Traceback" in line
    assert "KeyError" in line
