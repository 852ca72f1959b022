"""Where a hub listens, as users write it: ``unix:PATH``, ``tcp:HOST:PORT``, ``tcp:[IPV6]:PORT``."""

from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from podway.errors import ArgumentError

DEFAULT_PORT = 7472
# sun_path of a Unix socket's address holds 108 bytes with the final zero.
UNIX_PATH_MAX_BYTES = 107


class UnixAddress(Struct, frozen=True):
    """A hub on this machine."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


class TcpAddress(Struct, frozen=True):
    """A hub anywhere; an IPv6 *host* stands without brackets here."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"


HubAddress: TypeAlias = UnixAddress | TcpAddress


def parse_hub_address(field: str, text: str) -> HubAddress:
    """Return the address that *text* names.

    Raises:
        ConfigError: with *field*, for anything else.
    """
    scheme, _, rest = text.partition(":")
    match scheme:
        case "unix":
            return _parse_unix(field, text, rest)
        case "tcp":
            return _parse_tcp(field, text, rest)
        case _:
            raise ArgumentError(field, text, "must be unix:/PATH or tcp:HOST:PORT")


def _parse_unix(field: str, text: str, path: str) -> UnixAddress:
    if not path.startswith("/"):
        raise ArgumentError(
            field, text, "needs an absolute path, such as unix:/run/podway/hub.sock"
        )
    if len(path.encode()) > UNIX_PATH_MAX_BYTES:
        raise ArgumentError(field, text, f"path must be at most {UNIX_PATH_MAX_BYTES} bytes long")
    return UnixAddress(Path(path))


def _parse_tcp(field: str, text: str, rest: str) -> TcpAddress:
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        well_formed = bool(closed)
    else:
        host, colon, port = rest.partition(":")
        tail, well_formed = colon + port, True
    if not host or not well_formed or not _is_port(tail):
        rule = "needs host and port, such as tcp:10.0.0.1:7472 or tcp:[fd00::1]:7472"
        raise ArgumentError(field, text, rule)
    return TcpAddress(host, int(tail[1:]) if tail else DEFAULT_PORT)


def _is_port(tail: str) -> bool:
    """Tell whether *tail* is nothing, or a colon and a port."""
    digits = tail.removeprefix(":")
    if not tail:
        return True
    return tail != digits and digits.isascii() and digits.isdigit() and int(digits[:6]) <= 65535
