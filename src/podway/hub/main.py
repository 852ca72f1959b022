"""``podway hub``: the command line, and the life of the process from start to a clean end.

In: parsed arguments. Out: an exit code, 0 after SIGTERM or SIGINT, 1 with one line on stderr for
what the operator must change, or when the disk cannot even be read any more.
"""

import argparse
import asyncio
import contextlib
import resource
import signal
import sys
from pathlib import Path

from msgspec import Struct

from podway.errors import ConfigError, PodwayError
from podway.hub.access import ADMIN
from podway.hub.database import Database
from podway.hub.ledger import Answered, Ledger
from podway.hub.listeners import bound_address, listen
from podway.hub.server import HubServer
from podway.hub.sessions import Limits
from podway.kernel.http import HttpEndpoint
from podway.kernel.logs import (
    LOG_FORMATS,
    LOG_LEVELS,
    configure_logging,
    get_log,
)
from podway.kernel.systemd import notify, watchdog_interval_s
from podway.model.networks import Network, parse_network
from podway.store.address import HubAddress, TcpAddress, UnixAddress, parse_hub_address
from podway.store.tls import TlsFiles
from podway.store.wire import KIND_CONFIG, NETWORK_NAME, Put

DEFAULT_LISTEN = "unix:/run/podway/hub.sock"
DEFAULT_DATA_DIR = Path("/var/lib/podway/hub")
_log = get_log("podway.hub")


class HubSettings(Struct, frozen=True, kw_only=True):
    """All that a hub is told.

    Attributes:
        listen: where it listens; all TCP addresses share *tls*.
        data_dir: directory of its database; one hub each.
        tls: files of mutual TLS; None: TCP is plain, which `parse_settings` allows on request.
        net_conf: net-conf.json text to start with.
        replace: put *net_conf* in the place of another one that is stored.
        force: also where that breaks leases.
        http: host and port of /metrics, /healthz and /readyz.
        limits: what a client may cost.
    """

    listen: tuple[HubAddress, ...]
    data_dir: Path
    tls: TlsFiles | None = None
    net_conf: str | None = None
    replace: bool = False
    force: bool = False
    http: tuple[str, int] | None = None
    limits: Limits = Limits()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``podway hub`` to *parser*."""
    parser.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help=f"unix:/PATH or tcp:HOST:PORT; may be repeated (default: {DEFAULT_LISTEN})",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=DEFAULT_DATA_DIR,
        help="directory of the database, made when missing (default: %(default)s)",
    )
    _add_network_arguments(parser)
    _add_tls_arguments(parser)
    _add_service_arguments(parser)
    commands = parser.add_subparsers(dest="hub_command", metavar="[certs]", title="other uses")
    _add_certs(commands.add_parser("certs", help="make certificates for mutual TLS"))


def _add_network_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network configuration")
    group.add_argument(
        "--net-conf",
        type=Path,
        metavar="FILE",
        help="net-conf.json that a new store begins with; a store that has one keeps its own",
    )
    group.add_argument(
        "--replace",
        action="store_true",
        help="put --net-conf in the place of what is stored, unless that breaks leased subnets",
    )
    group.add_argument(
        "--force",
        action="store_true",
        help="with --replace: also when leased subnets do not fit; their nodes get others",
    )


def _add_tls_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("TLS 1.3, on both sides, for tcp addresses")
    group.add_argument("--tls-ca", type=Path, metavar="FILE", help="authority of all certificates")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate of the hub")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    group.add_argument(
        "--plaintext",
        action="store_true",
        help="for labs only: serve tcp without TLS; whoever can connect can do everything",
    )


def _add_service_arguments(parser: argparse.ArgumentParser) -> None:
    limits = Limits()
    group = parser.add_argument_group("service")
    group.add_argument(
        "--http", metavar="HOST:PORT", help="serve /metrics, /healthz and /readyz there"
    )
    group.add_argument(
        "--max-clients",
        type=int,
        default=limits.clients,
        metavar="N",
        help="clients at the same time (default: %(default)s)",
    )
    group.add_argument(
        "--heartbeat",
        type=float,
        default=limits.heartbeat_s,
        metavar="SECONDS",
        help="between signs of life; three missed are death (default: %(default)s)",
    )
    group.add_argument(
        "--max-lag",
        type=int,
        default=limits.lag_bytes,
        metavar="BYTES",
        help="how far a slow client may fall behind before it is dropped (default: %(default)s)",
    )
    group.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="least severe level to log (default: %(default)s)",
    )
    group.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        default="text",
        help="log lines for people or for machines (default: %(default)s)",
    )


def _add_certs(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"Make an authority, and certificates for the hub, for {ADMIN!r} and for each node, in "
        "DIR. What is there already stays, so nodes can be added later. Copy to a node ca.crt and "
        "its own two files, and nothing else."
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--node", action="append", default=[], metavar="NAME", help="may be repeated"
    )
    parser.add_argument(
        "--hub-name",
        action="append",
        default=[],
        metavar="HOST",
        help="further name or address for the hub's certificate; podway's agents need none",
    )


def run(args: argparse.Namespace) -> int:
    """Run what *args* ask for; return the exit code."""
    try:
        if args.hub_command == "certs":
            return _run_certs(args)
        configure_logging(args.log_level, args.log_format, sys.stderr)
        return asyncio.run(serve(parse_settings(args)))
    except PodwayError as error:
        sys.stderr.write(f"podway hub: {error}\n")
        return 1


def _run_certs(args: argparse.Namespace) -> int:
    from podway.hub.certs import write_certificates  # noqa: PLC0415  (a heavy extra)

    for path in write_certificates(args.directory, args.node, args.hub_name):
        sys.stdout.write(f"{path}\n")
    return 0


def parse_settings(args: argparse.Namespace) -> HubSettings:
    """Return the settings that *args* spell. Raises ConfigError with the option at fault."""
    texts = args.listen or [DEFAULT_LISTEN]
    addresses = tuple(parse_hub_address("--listen", text) for text in texts)
    return HubSettings(
        listen=addresses,
        data_dir=args.data_dir,
        tls=_parse_tls(args, addresses),
        net_conf=_read_net_conf(args.net_conf),
        replace=args.replace,
        force=args.force,
        http=_parse_http(args.http),
        limits=_parse_limits(args),
    )


def _parse_tls(args: argparse.Namespace, addresses: tuple[HubAddress, ...]) -> TlsFiles | None:
    given = {
        option: getattr(args, option.replace("-", "_"))
        for option in ("tls-ca", "tls-cert", "tls-key")
    }
    missing = [f"--{option}" for option, path in given.items() if path is None]
    if not missing:
        if args.plaintext:
            raise ConfigError("--plaintext", True, "cannot go with --tls-ca")  # noqa: FBT003
        return TlsFiles(ca=args.tls_ca, cert=args.tls_cert, key=args.tls_key)
    tcp = next((address for address in addresses if isinstance(address, TcpAddress)), None)
    if len(missing) < len(given) or (tcp is not None and not args.plaintext):
        rule = f"tcp needs {', '.join(missing)} (`podway hub certs` makes them), or --plaintext"
        raise ConfigError("--listen", str(tcp or addresses[0]), rule)
    return None


def _read_net_conf(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--net-conf", str(path), f"must be a readable file: {error}") from error


def _parse_http(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    if not text.rpartition(":")[0]:
        raise ConfigError("--http", text, "needs host and port, such as 127.0.0.1:7473")
    address = parse_hub_address("--http", f"tcp:{text}")
    assert isinstance(address, TcpAddress), "tcp gives nothing else"
    return address.host, address.port


def _parse_limits(args: argparse.Namespace) -> Limits:
    if args.max_clients < 1:
        raise ConfigError("--max-clients", args.max_clients, "must be at least 1")
    if not 0.1 <= args.heartbeat <= 3600:
        raise ConfigError("--heartbeat", args.heartbeat, "must be 0.1 to 3600 seconds")
    if args.max_lag < 1 << 16:
        raise ConfigError("--max-lag", args.max_lag, f"must be at least {1 << 16} bytes")
    return Limits(clients=args.max_clients, heartbeat_s=args.heartbeat, lag_bytes=args.max_lag)


async def serve(settings: HubSettings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    _raise_file_limit(settings.limits.clients)
    async with contextlib.AsyncExitStack() as undo:
        server = await open_server(settings, undo)
        notify("READY=1", f"STATUS=serving store {server.store_id}")
        undo.callback(asyncio.ensure_future(_pet_watchdog()).cancel)
        stopped = asyncio.ensure_future(stopping.wait())
        await asyncio.wait((stopped, server.broken), return_when=asyncio.FIRST_COMPLETED)
        notify("STOPPING=1")
        if not server.broken.done():
            return 0
        stopped.cancel()
        return 1


async def _pet_watchdog() -> None:
    """Tell systemd that the loop turns, if it asks; a disk that hangs stops it."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)


async def open_server(settings: HubSettings, undo: contextlib.AsyncExitStack) -> HubServer:
    """Return a hub that serves as *settings* say; *undo* ends it again, in order.

    Raises:
        ConfigError: an address, a file or the network configuration cannot be used.
        StorageFailed: the database cannot be opened or read.
    """
    ledger = open_ledger(settings)
    server = HubServer(ledger, settings.limits)
    undo.push_async_callback(server.stop, "the hub is stopping; reconnect")
    for address in settings.listen:
        listener = await listen(server, address, settings.tls)
        if isinstance(address, UnixAddress):
            undo.callback(address.path.unlink, missing_ok=True)
        undo.callback(listener.close)
        server.addresses.append(bound := bound_address(address, listener))
        _log.info("listening", address=bound, tls=_tls_word(address, settings.tls))
    if settings.http is not None:
        await _open_http(server, settings.http, undo)
    return server


def _tls_word(address: HubAddress, tls: TlsFiles | None) -> str:
    if isinstance(address, UnixAddress):
        return "none needed"
    return "mutual" if tls else "NONE, everybody may do everything"


async def _open_http(
    server: HubServer, where: tuple[str, int], undo: contextlib.AsyncExitStack
) -> None:
    from podway.hub.metrics import build_routes  # noqa: PLC0415  (prometheus_client: 60 ms)

    endpoint = HttpEndpoint(build_routes(server))
    try:
        await endpoint.start(*where)
    except OSError as error:
        raise ConfigError("--http", f"{where[0]}:{where[1]}", f"cannot listen: {error}") from error
    undo.push_async_callback(endpoint.close)


def open_ledger(settings: HubSettings) -> Ledger:
    """Return the ledger in the data directory, with a network configuration if one was given.

    Raises:
        ConfigError: the directory or the network configuration cannot be used.
        StorageFailed: the database cannot be opened or read.
    """
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--data-dir", str(settings.data_dir), f"cannot be made: {error}"
        ) from error
    database = Database(settings.data_dir)
    try:
        ledger = Ledger(database)
        _configure_network(ledger, settings)
    except BaseException:
        database.close()
        raise
    return ledger


def _configure_network(ledger: Ledger, settings: HubSettings) -> None:
    stored, given = ledger.state.network_text, settings.net_conf
    if given is None or (stored is not None and _says_the_same(given, ledger.state.network)):
        return
    if stored is not None and not settings.replace:
        _log.warning(
            "--net-conf differs from what is stored and is not used; --replace would put it there",
            revision=ledger.state.revision,
        )
        return
    put = Put(id=0, kind=KIND_CONFIG, name=NETWORK_NAME, value=given.encode(), force=settings.force)
    (outcome,), _ = ledger.run([put])
    if not isinstance(outcome, Answered):
        raise outcome
    _log.info("network configured", revision=outcome.revision, replaced=stored is not None)


def _says_the_same(text: str, network: Network | None) -> bool:
    """Tell whether *text* describes *network*; False, too, for what describes none."""
    try:
        return parse_network(text) == network
    except ConfigError:
        return False


def _raise_file_limit(clients: int) -> None:
    """Allow as many open files as clients; systemd's default soft limit is 1,024."""
    wanted = clients + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def main() -> int:
    """Run the hub by itself, without the rest of the command line (``python -m podway.hub``)."""
    parser = argparse.ArgumentParser(prog="podway hub", description="podway's embedded store")
    add_arguments(parser)
    return run(parser.parse_args())
