"""Logs to stderr: one line per event, an event in a few words and its fields as ``key=value``.

In: stdlib `logging` records, with ``extra={"fields": {...}}`` or through `get_log`. Out: text for
people (``2026-11-21T07:00:00.123Z INFO hub: lease given node=a subnet=10.244.1.0/24``) or one JSON
object per line for collectors. Whatever a field holds, a record stays one line: control characters
are escaped, so that nothing a peer sends can forge a second one.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO, TypeAlias

LogFormat: TypeAlias = Literal["text", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LOG_FORMATS: tuple[LogFormat, ...] = ("text", "json")
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
# Characters with which a value can stand without quotes.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/@+-[]%,")


class Log:
    """Writes events of one component; fields are keyword arguments, values anything with a str."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """Log what only somebody who looks for a fault wants to see."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log that something changed."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what works on but should be looked at."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log what does not work."""
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log the error that is being handled with its traceback: a fault of ours."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(
        self, level: int, event: str, fields: Mapping[str, object], *, exc_info: bool = False
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=exc_info)


def get_log(name: str) -> Log:
    """Return the log of component *name* (``podway.hub``)."""
    return Log(name)


def configure_logging(level: LogLevel, fmt: LogFormat, stream: TextIO) -> None:
    """Send every record of *level* and above to *stream*, in place of what was configured before.

    Only the daemon's own start calls this; libraries keep quiet below WARNING.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if fmt == "json" else TextFormatter())
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("podway").setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """Records as text for people and ``journalctl``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line."""
        name = record.name.removeprefix("podway.")
        head = f"{_timestamp(record)} {record.levelname} {name}: {_escape(record.getMessage())}"
        shown = (f"{key}={_quote(str(value))}" for key, value in _fields(self, record).items())
        return " ".join((head, *shown))


class JsonFormatter(logging.Formatter):
    """Records as JSON objects: time, level, component, event, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line."""
        line: dict[str, object] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "component": record.name,
            "event": record.getMessage(),
        }
        for key, value in _fields(self, record).items():
            line.setdefault(key, value)
        return json.dumps(line, default=str, ensure_ascii=False)


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    fields = dict(getattr(record, "fields", {}))
    if record.exc_info:
        fields["traceback"] = formatter.formatException(record.exc_info)
    return fields


def _escape(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _quote(text: str) -> str:
    if text and _PLAIN.issuperset(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
