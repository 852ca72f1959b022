"""TLS: of agents and hub, mutual and 1.3; and what the clients of other stores begin with.

Agents and hub trust one authority of their own and nothing else. The hub's certificate carries a
fixed DNS name in place of its addresses, so that no certificate depends on where the hub runs; a
node's certificate is for clients only, so that no node can pose as the hub.
"""

import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from podway.errors import ArgumentError, ConfigError
from podway.store.access import StoreAccess

# Every hub certificate names this host.
HUB_TLS_NAME = "podway-hub"


class TlsFiles(Struct, frozen=True, kw_only=True):
    """The three PEM files of one party, and the name that a hub must prove to it.

    Attributes:
        ca: certificates of the authority that signs hub and nodes.
        cert: our own certificate; its common name is our node's name, or ``admin``.
        key: our private key.
        server_name: DNS name that the hub's certificate must carry (clients only).
    """

    ca: Path
    cert: Path
    key: Path
    server_name: str = HUB_TLS_NAME


def tls_files(access: StoreAccess) -> TlsFiles | None:
    """Return the files that *access* names, None for none of them.

    Raises:
        ConfigError: it names only some.
    """
    match (access.tls_ca, access.tls_cert, access.tls_key):
        case (None, None, None):
            return None
        case (Path() as authority, Path() as certificate, Path() as key):
            return TlsFiles(ca=authority, cert=certificate, key=key)
        case given:
            named = ", ".join(str(path) for path in given if path is not None)
            rule = "--tls-ca, --tls-cert and --tls-key go together"
            raise ArgumentError("--tls-*", named, rule)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a client. Raises ConfigError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, files)
    return context


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a hub, which asks every client for a certificate.

    Raises ConfigError when a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # connections last for days; a ticket is memory for nothing
    _load(context, files)
    return context


def trusting(field: str, authority: Path | None) -> ssl.SSLContext:
    """Return a client's context that trusts *authority* alone, or, without, as the system does.

    Other programs' servers may speak TLS 1.2 still. Raises ConfigError, with *field*, for a file
    that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authority(context, field, authority)
    return context


def load_authority(context: ssl.SSLContext, field: str, authority: Path | None) -> None:
    """Have *context* trust as `trusting` says. Raises ConfigError likewise."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority is None:
        context.load_default_certs()
    else:
        load_pem(field, authority, lambda: context.load_verify_locations(authority))


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    load_pem("tls-ca", files.ca, lambda: context.load_verify_locations(files.ca))
    load_pem("tls-cert", files.cert, lambda: context.load_cert_chain(files.cert, files.key))


def load_pem(field: str, path: Path, load: Callable[[], None]) -> None:
    """Call *load*, which reads *path* for *field*. Raises ConfigError when it cannot be used."""
    try:
        load()
    except OSError as error:  # ssl.SSLError is one, too
        rule = f"must be readable PEM files that belong together: {error}"
        raise ConfigError(field, str(path), rule) from error


class RenewedFiles:
    """PEM files that are replaced while we run, read again into the context that they were for.

    A connection that is there stays as it is; the next one has what is new. (Authorities that were
    trusted stay so: a context forgets none.)

    Args:
        paths: of the files.
        context: into which they were read.
        load: reads them into a context; its ConfigError means that they are just being replaced.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        context: ssl.SSLContext,
        load: Callable[[ssl.SSLContext], None],
    ) -> None:
        self._paths = tuple(paths)
        self._context = context
        self._load = load
        self._seen = self._ages()

    def look(self) -> None:
        """Read the files again if one of them is another than before."""
        ages = self._ages()
        if ages == self._seen:
            return
        with suppress(ConfigError):
            # What is half there would be in the context, and what was there before would not.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            self._load(self._context)
            self._seen = ages

    def _ages(self) -> list[int]:
        return [age_of(path) for path in self._paths]


def age_of(path: Path) -> int:
    """Return when *path* was changed; of a file that is just being replaced, as if long ago."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
