"""What an operator can set about an agent: one frozen value, read once, passed down.

The command line is the one place where options are defined; every option may also come from the
environment as PODWAY_<NAME> (dashes as underscores).
"""

import argparse
import os
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from podway.kernel.logs import LOG_FORMATS, LOG_LEVELS, LogFormat, LogLevel
from podway.model.addresses import IPAddress
from podway.store.protocol import DEFAULT_LEASE_TTL_S

DEFAULT_RUN_DIR = Path("/run/podway")
DEFAULT_STATE_DIR = Path("/var/lib/podway")


Adder: TypeAlias = Callable[..., None]


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of one agent. Defaults and meanings are those of `add_arguments`."""

    node: str
    store: str
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plaintext: bool = False
    uplink: str = ""
    public_ips: tuple[IPAddress, ...] = ()
    state_dir: Path = DEFAULT_STATE_DIR
    run_dir: Path = DEFAULT_RUN_DIR
    http: str = ""
    lease_ttl_s: int = DEFAULT_LEASE_TTL_S
    cooldown_s: float = 30.0
    resync_s: float = 300.0
    store_grace_s: float = 30.0
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the agent's options on *parser*."""
    add = _Options(parser).add
    add("--node", default=socket.gethostname(), help="name of this node (default: host name)")
    add(
        "--store",
        default=f"unix:{DEFAULT_RUN_DIR}/hub.sock",
        metavar="URL",
        help="the cluster's store: unix:PATH or tcp:HOST:PORT (default: %(default)s)",
    )
    add("--tls-ca", type=Path, metavar="FILE", help="who signs the store's certificate")
    add("--tls-cert", type=Path, metavar="FILE", help="this node's certificate; CN is --node")
    add("--tls-key", type=Path, metavar="FILE", help="its key")
    add("--plaintext", action="store_true", help="TCP without TLS: for labs only")
    add("--uplink", default="", metavar="DEV", help="interface to peers (default: default route's)")
    add(
        "--public-ip",
        dest="public_ips",
        type=ip_address,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address by which peers reach this node, once per family (default: the uplink's)",
    )
    _add_places(add)
    _add_times(add)
    _add_logging(add)


def _add_places(add: Adder) -> None:
    add(
        "--state-dir",
        type=Path,
        default=DEFAULT_STATE_DIR,
        metavar="DIR",
        help="what must outlive a restart (default: %(default)s)",
    )
    add(
        "--run-dir",
        type=Path,
        default=DEFAULT_RUN_DIR,
        metavar="DIR",
        help="sockets: cni.sock and agent.sock (default: %(default)s)",
    )
    add(
        "--http",
        default="",
        metavar="ADDRESS:PORT",
        help="serve /metrics, /healthz and /readyz (default: off)",
    )


def _add_times(add: Adder) -> None:
    for flag, field, default, text in (
        ("--cooldown", "cooldown_s", 30.0, "how long a released pod address rests"),
        ("--resync", "resync_s", 300.0, "full comparison with the kernel, a safety net"),
        ("--store-grace", "store_grace_s", 30.0, "how long the store may be away before 503"),
    ):
        add(
            flag,
            dest=field,
            type=positive_seconds,
            default=default,
            metavar="SECONDS",
            help=f"{text} (default: %(default)s)",
        )
    add(
        "--lease-ttl",
        dest="lease_ttl_s",
        type=lease_ttl,
        default=DEFAULT_LEASE_TTL_S,
        metavar="SECONDS",
        help="how long the node keeps its subnets unless renewed; 0: for good "
        "(default: %(default)s)",
    )


def _add_logging(add: Adder) -> None:
    add(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="least severe level to log (default: %(default)s)",
    )
    add(
        "--log-format",
        choices=LOG_FORMATS,
        default="text",
        help="log lines for people or for machines (default: %(default)s)",
    )


def positive_seconds(text: str) -> float:
    """Return *text* as seconds above 0; argparse words the error."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number of seconds above 0")
    return seconds


def lease_ttl(text: str) -> int:
    """Return *text* as a time to live: 0, or at least 10 seconds."""
    seconds = int(text)
    if seconds != 0 and not 10 <= seconds <= 365 * 86400:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 0, or 10 to 31536000 seconds")
    return seconds


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the parsed *arguments* make."""
    fields = {name: getattr(arguments, name) for name in Settings.__struct_fields__}
    return Settings(**{**fields, "public_ips": tuple(arguments.public_ips)})


class _Options:
    """Adds options whose default may come from the environment."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def add(self, flag: str, **options: object) -> None:
        text = os.environ.get(f"PODWAY_{flag.removeprefix('--').replace('-', '_').upper()}")
        if text is not None and options.get("action") is None:
            # argparse runs a default that is text through `type`, so it is checked like an option.
            options["default"] = text
        self._parser.add_argument(flag, **options)  # type: ignore[arg-type]
