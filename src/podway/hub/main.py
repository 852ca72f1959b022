"""``podway hub``: the life of the process from start to a clean end.

In: arguments that `settings` declares. Out: an exit code, 0 after SIGTERM or SIGINT, 1 with one
line on stderr for what the operator must change, or when the disk cannot even be read any more.
"""

import argparse
import asyncio
import contextlib
import resource
import signal
import sys

from podway.errors import ConfigError, PodwayError, exit_code
from podway.hub.database import Database
from podway.hub.ledger import Answered, Ledger
from podway.hub.listeners import bound_address, listen
from podway.hub.server import HubServer
from podway.hub.settings import HubSettings, add_arguments, parse_settings
from podway.kernel.http import HttpEndpoint
from podway.kernel.logs import configure_logging, get_log
from podway.kernel.systemd import notify, watchdog_interval_s
from podway.model.networks import Network, parse_network
from podway.store.address import HubAddress, UnixAddress
from podway.store.frames import (
    KIND_CONFIG,
    NETWORK_NAME,
    Put,
)
from podway.store.net_conf_remarks import tell_unknown_keys
from podway.store.tls import TlsFiles

__all__ = ["add_arguments", "run"]
_log = get_log("podway.hub")


def run(args: argparse.Namespace) -> int:
    """Run what *args* ask for; return the exit code."""
    try:
        if args.hub_command == "certs":
            return _run_certs(args)
        configure_logging(args.log_level, args.log_format, sys.stderr)
        return asyncio.run(serve(parse_settings(args)))
    except PodwayError as error:
        sys.stderr.write(f"podway hub: {error}\n")
        return exit_code(error)


def _run_certs(args: argparse.Namespace) -> int:
    from podway.hub.certs import write_certificates  # noqa: PLC0415  (a heavy extra)

    for path in write_certificates(args.directory, args.node, args.hub_name):
        sys.stdout.write(f"{path}\n")
    return 0


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
    server = _make_server(settings)
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


def _make_server(settings: HubSettings) -> HubServer:
    if not settings.upstream:
        return HubServer(open_ledger(settings), settings.limits)
    from podway.hub.upstream import UpstreamServer  # noqa: PLC0415  (not without another store)
    from podway.store.engines import open_store  # noqa: PLC0415

    return UpstreamServer(open_store(settings.upstream, settings.access), settings.limits)


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
        if ledger.state.network_text is not None:
            tell_unknown_keys(ledger.state.network_text.encode())
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
