"""``podway dhcp``, and ``dhcp daemon`` of the executable: starts the daemon, and ends it in order.

Options are the reference plugin's, with one dash or two; times are written as Go writes them.
"""

import argparse
import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from podway.cni.dhcp_conf import DEFAULT_DHCP_SOCKET
from podway.dhcp.lease_files import DEFAULT_STATE_DIR
from podway.dhcp.server import dhcp_server
from podway.dhcp.service import DhcpService, ServiceSettings
from podway.dhcp.states import Patience
from podway.errors import ArgumentError, ConfigError
from podway.kernel.frame_server import listen
from podway.kernel.logs import LOG_FORMATS, LOG_LEVELS, configure_logging, get_log
from podway.kernel.systemd import notify

# sd_listen_fds(3).
_FIRST_PASSED: Final = 3
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)")
_MOST_S: Final = 86400.0
_log = get_log("podway.dhcp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the daemon's options."""
    usual = Patience()
    options = [
        ("socketpath", DEFAULT_DHCP_SOCKET, "PATH", "socket for the executables"),
        ("pidfile", "", "PATH", "file to write the process number to"),
        ("hostprefix", "", "PATH", "where the host's root is, for a daemon in a container"),
        ("statedir", str(DEFAULT_STATE_DIR), "DIR", "where leases are kept over a restart"),
    ]
    for name, default, metavar, text in options:
        shown = f" (default: {default})" if default else ""
        parser.add_argument(
            f"-{name}", f"--{name}", default=default, metavar=metavar, help=f"{text}{shown}"
        )
    times = [
        ("timeout", usual.answer_s, "for a server's answer to a request"),
        ("resendmax", usual.longest_pause_s, "at most between two messages"),
        ("resendtimeout", usual.give_up_s, "for a first lease, before ADD fails"),
    ]
    for name, default_s, text in times:
        parser.add_argument(
            f"-{name}",
            f"--{name}",
            type=parse_duration,
            default=default_s,
            metavar="TIME",
            help=f"how long to wait {text} (default: {default_s:.0f}s)",
        )
    parser.add_argument(
        "-probetime",
        "--probetime",
        type=parse_pause,
        default=usual.probe_s,
        metavar="TIME",
        help="how long to ask on the link whether somebody has an address already; 0s: do not ask "
        f"(default: {usual.probe_s * 1000:.0f}ms)",
    )
    parser.add_argument(
        "-broadcast",
        "--broadcast",
        nargs="?",
        type=parse_boolean,
        default=False,
        const=True,
        metavar="true|false",
        help="ask servers to answer by broadcast, as ipvlan needs",
    )
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, default="info", help="what to tell (default: info)"
    )
    parser.add_argument(
        "--log-format", choices=LOG_FORMATS, default="text", help="for people or for collectors"
    )


def parse_duration(text: str) -> float:
    """Return the seconds of a time as Go writes it: ``10s``, ``1m30s``, ``500ms``.

    Raises:
        argparse.ArgumentTypeError: it is none, or not above 0, or more than a day.
    """
    parts = _DURATION.findall(text)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < seconds <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} must be a time up to 24h, as 10s or 1m30s")
    return seconds


def parse_pause(text: str) -> float:
    """Return the seconds of a time, which may be none.

    Raises:
        argparse.ArgumentTypeError: as `parse_duration`.
    """
    return 0.0 if text in {"0", "0s"} else parse_duration(text)


def parse_boolean(text: str) -> bool:
    """Return true or false, as Go's flags write it.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    values = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} must be true or false")
    return values[text.lower()]


def main(argv: Sequence[str]) -> int:
    """Run the daemon with the arguments after ``dhcp daemon``; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="dhcp daemon",
        description="Get and keep DHCP leases for containers.",
        allow_abbrev=False,
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon until a signal ends it; return the exit code."""
    configure_logging(arguments.log_level, arguments.log_format, sys.stderr)
    prefix: str = arguments.hostprefix
    try:
        service = _service(arguments)
        path = Path(prefix + arguments.socketpath)
        with _pidfile(arguments), _listener(path) as (listener, on_end):
            asyncio.run(_serve(listener, on_end, service))
    except ConfigError as error:
        _log.error("cannot go on", reason=str(error))
        return 1
    return 0


def _service(arguments: argparse.Namespace) -> DhcpService:
    patience = Patience(
        answer_s=arguments.timeout,
        longest_pause_s=arguments.resendmax,
        give_up_s=arguments.resendtimeout,
        probe_s=arguments.probetime,
    )
    settings = ServiceSettings(
        state_dir=Path(arguments.hostprefix + arguments.statedir),
        host_prefix=arguments.hostprefix,
        broadcast=arguments.broadcast,
        patience=patience,
    )
    try:
        return DhcpService(settings)
    except OSError as error:
        raise ConfigError(
            "-statedir", str(settings.state_dir), f"must be writable: {error}"
        ) from error


async def _serve(listener: socket.socket, on_end: Callable[[], None], service: DhcpService) -> None:
    loop = asyncio.get_running_loop()
    server = asyncio.create_task(dhcp_server(listener, service).run(on_end))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.cancel)
    service.resume()
    notify("READY=1")
    _log.info("ready", socket=listener.getsockname(), leases=len(service.clients))
    try:
        await server
    except asyncio.CancelledError:
        notify("STOPPING=1")
    finally:
        service.close()


@contextmanager
def _listener(path: Path) -> Iterator[tuple[socket.socket, Callable[[], None]]]:
    """Give the socket that systemd passed, else one of our own; and what to do when it ends.

    One of our own is to go before the last calls end: the next daemon may be listening by then.
    """
    passed = _passed_sockets()
    if passed > 1:
        raise ConfigError("LISTEN_FDS", passed, "must be 1: the unit has one socket")
    if passed:
        with _passed_socket() as listener:
            yield listener, lambda: None
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("-socketpath", str(path), f"must be in a directory: {error}") from error
    with listen(path, "-socketpath") as listener:
        yield listener, lambda: path.unlink(missing_ok=True)


def _passed_socket() -> socket.socket:
    try:
        listener = socket.socket(fileno=_FIRST_PASSED)
    except OSError as error:
        raise ConfigError("LISTEN_FDS", 1, f"descriptor 3 must be a socket: {error}") from error
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _passed_sockets() -> int:
    """Return how many sockets systemd passed to this process (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return 0
    number = os.environ.get("LISTEN_FDS", "")
    return int(number) if number.isdigit() else 0


@contextmanager
def _pidfile(arguments: argparse.Namespace) -> Iterator[None]:
    """Let the process number stand in a file while the block lasts."""
    if not arguments.pidfile:
        yield
        return
    path = Path(arguments.pidfile)
    if not path.is_absolute():
        raise ArgumentError("-pidfile", arguments.pidfile, "must be an absolute path")
    try:
        path.write_text(str(os.getpid()), encoding="ascii")
    except OSError as error:
        raise ConfigError("-pidfile", arguments.pidfile, f"cannot be written: {error}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
