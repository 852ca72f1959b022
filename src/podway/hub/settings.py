"""What a hub is told: its command line, and the settings that come of it.

In: an argument parser, later the parsed arguments. Out: `HubSettings`, or a `ConfigError` that
names the option at fault. Nothing is opened here but the file of ``--net-conf``.
"""

import argparse
from pathlib import Path
from typing import Any

from msgspec import Struct

from podway.errors import ArgumentError, ConfigError
from podway.hub.access import ADMIN
from podway.hub.limits import Limits
from podway.kernel.logs import LOG_FORMATS, LOG_LEVELS
from podway.store.access import StoreAccess, add_access_arguments
from podway.store.address import HubAddress, TcpAddress, parse_hub_address
from podway.store.tls import TlsFiles

DEFAULT_LISTEN = "unix:/run/podway/hub.sock"
DEFAULT_DATA_DIR = Path("/var/lib/podway/hub")


class HubSettings(Struct, frozen=True, kw_only=True):
    """All that a hub is told.

    Attributes:
        listen: where it listens; all TCP addresses share *tls*.
        data_dir: directory of its database; one hub each.
        tls: files of mutual TLS; None: TCP is plain, which `parse_settings` allows on request.
        net_conf: net-conf.json text to start with.
        replace: put *net_conf* in the place of another one that is stored.
        force: also where that breaks leases.
        upstream: URL of the store that this hub serves, in place of a database; "" for none.
        access: how to reach that.
        http: host and port of /metrics, /healthz and /readyz.
        limits: what a client may cost.
    """

    listen: tuple[HubAddress, ...]
    data_dir: Path
    tls: TlsFiles | None = None
    net_conf: str | None = None
    replace: bool = False
    force: bool = False
    upstream: str = ""
    access: StoreAccess = StoreAccess()
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
    _add_upstream_arguments(parser)
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


def _add_upstream_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("another store behind this hub")
    group.add_argument(
        "--upstream",
        default="",
        metavar="URL",
        help="serve this store (etcd:..., kubernetes:...) to agents, in place of a database",
    )

    def add(flag: str, **options: Any) -> None:
        name = flag.removeprefix("--")
        spelled = f"--upstream-{name.removeprefix('store-')}"
        group.add_argument(spelled, dest=f"upstream_{name.replace('-', '_')}", **options)

    add_access_arguments(add)


def _parse_access(args: argparse.Namespace) -> StoreAccess:
    names = StoreAccess.__struct_fields__
    return StoreAccess(**{name: getattr(args, f"upstream_{name}") for name in names})


def _add_service_arguments(parser: argparse.ArgumentParser) -> None:
    limits = Limits()
    group = parser.add_argument_group("service")
    group.add_argument(
        "--http", metavar="HOST:PORT", help="serve /metrics, /healthz and /readyz there"
    )

    def add(flag: str, metavar: str, default: float, meaning: str) -> None:
        told = f"{meaning} (default: %(default)s)"
        group.add_argument(flag, metavar=metavar, type=type(default), default=default, help=told)

    add("--max-clients", "N", limits.clients, "clients at the same time")
    add(
        "--heartbeat",
        "SECONDS",
        limits.heartbeat_s,
        "between signs of life; three missed are death",
    )
    far = "how far a slow client may fall behind before it is dropped"
    add("--max-lag", "BYTES", limits.lag_bytes, far)
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
        upstream=_parse_upstream(args),
        access=_parse_access(args),
        http=_parse_http(args.http),
        limits=_parse_limits(args),
    )


def _parse_upstream(args: argparse.Namespace) -> str:
    url: str = args.upstream
    if url and args.net_conf is not None:
        rule = "cannot go with --upstream: the network is in the store there"
        raise ArgumentError("--net-conf", str(args.net_conf), rule)
    if url.startswith(("unix:", "tcp:")):
        raise ArgumentError("--upstream", url, "must not be another hub: agents can use that one")
    return url


def _parse_tls(args: argparse.Namespace, addresses: tuple[HubAddress, ...]) -> TlsFiles | None:
    given = {
        option: getattr(args, option.replace("-", "_"))
        for option in ("tls-ca", "tls-cert", "tls-key")
    }
    missing = [f"--{option}" for option, path in given.items() if path is None]
    if not missing:
        if args.plaintext:
            raise ArgumentError("--plaintext", True, "cannot go with --tls-ca")  # noqa: FBT003
        return TlsFiles(ca=args.tls_ca, cert=args.tls_cert, key=args.tls_key)
    tcp = next((address for address in addresses if isinstance(address, TcpAddress)), None)
    if len(missing) < len(given) or (tcp is not None and not args.plaintext):
        rule = f"tcp needs {', '.join(missing)} (`podway hub certs` makes them), or --plaintext"
        raise ArgumentError("--listen", str(tcp or addresses[0]), rule)
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
        raise ArgumentError("--http", text, "needs host and port, such as 127.0.0.1:7473")
    address = parse_hub_address("--http", f"tcp:{text}")
    assert isinstance(address, TcpAddress), "tcp gives nothing else"
    return address.host, address.port


def _parse_limits(args: argparse.Namespace) -> Limits:
    if args.max_clients < 1:
        raise ArgumentError("--max-clients", args.max_clients, "must be at least 1")
    if not 0.1 <= args.heartbeat <= 3600:
        raise ArgumentError("--heartbeat", args.heartbeat, "must be 0.1 to 3600 seconds")
    if args.max_lag < 1 << 16:
        raise ArgumentError("--max-lag", args.max_lag, f"must be at least {1 << 16} bytes")
    return Limits(clients=args.max_clients, heartbeat_s=args.heartbeat, lag_bytes=args.max_lag)
