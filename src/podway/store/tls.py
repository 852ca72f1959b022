"""TLS: of agents and hub, mutual and 1.3; and what the clients of other stores begin with.

Agents and hub trust one authority of their own and nothing else. The hub's certificate carries a
fixed DNS name in place of its addresses, so that no certificate depends on where the hub runs; a
node's certificate is for clients only, so that no node can pose as the hub.
"""

import ssl
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from podway.errors import ArgumentError, ConfigError
from podway.store.access import StoreAccess
from podway.store.renewed import Reading

# Every hub certificate names this host.
HUB_TLS_NAME = "podway-hub"


class TlsFiles(Struct, frozen=True, kw_only=True):
    """The three PEM files of one party.

    Attributes:
        ca: certificates of the authority that signs hub and nodes.
        cert: our own certificate; its common name is our node's name, or ``admin``.
        key: our private key.
    """

    ca: Path
    cert: Path
    key: Path


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


def client_context(files: TlsFiles, reading: Reading = Path) -> ssl.SSLContext:
    """Return the context of a client. Raises ConfigError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, files, reading)
    return context


def server_context(files: TlsFiles, reading: Reading = Path) -> ssl.SSLContext:
    """Return the context of a hub, which asks every client for a certificate.

    Raises ConfigError when a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # connections last for days; a ticket is memory for nothing
    _load(context, files, reading)
    return context


def trusting(field: str, authority: Path | None) -> ssl.SSLContext:
    """Return a client's context that trusts *authority* alone, or, without, as the system does.

    Other programs' servers may speak TLS 1.2 still. Raises ConfigError, with *field*, for a file
    that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority is None:
        context.load_default_certs()
    else:
        _load_pem(field, authority, lambda: context.load_verify_locations(authority))
    return context


def load_identity(context: ssl.SSLContext, field: str, certificate: Path, key: Path | None) -> None:
    """Have *context* show *certificate*; without *key* that file holds the key as well.

    Of a key that has a password nobody is asked for it: OpenSSL would read it from the terminal,
    and wait, in the middle of a daemon's event loop.

    Raises:
        ConfigError: with *field*, they cannot be used.
    """

    def refuse() -> str:
        rule = "must be a key without a password: a daemon asks nobody for one"
        raise ConfigError(field, str(key or certificate), rule)

    _load_pem(
        field, certificate, lambda: context.load_cert_chain(certificate, key, password=refuse)
    )


def _load(context: ssl.SSLContext, files: TlsFiles, reading: Reading) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    ca, cert, key = reading(files.ca), reading(files.cert), reading(files.key)
    _load_pem("tls-ca", ca, lambda: context.load_verify_locations(ca))
    load_identity(context, "tls-cert", cert, key)


def _load_pem(field: str, path: Path, load: Callable[[], None]) -> None:
    try:
        load()
    except OSError as error:  # ssl.SSLError is one, too
        rule = f"must be readable PEM files that belong together: {error}"
        raise ConfigError(field, str(path), rule) from error
