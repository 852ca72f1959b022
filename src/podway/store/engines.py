"""From a URL to a store: which engine serves it. Agent and command line open their store here."""

from podway.errors import ConfigError
from podway.store.address import UnixAddress, parse_hub_address
from podway.store.hub import HubOptions, HubStore
from podway.store.tls import TlsFiles, client_context

DEFAULT_URL = "unix:/run/podway/hub.sock"


def open_store(
    url: str,
    *,
    tls: TlsFiles | None = None,
    plaintext: bool = False,
    options: HubOptions | None = None,
) -> HubStore:
    """Return the store at *url* (``unix:/PATH``, ``tcp:HOST:PORT``); connects when first used.

    Over TCP the store is reached by mutual TLS with *tls*, or, for labs, openly with *plaintext*.

    Raises:
        ConfigError: the URL names no store that we know, or its TLS files cannot be used.
    """
    address = parse_hub_address("store", url)
    if isinstance(address, UnixAddress):
        return HubStore(address, options=options)
    if tls is None and not plaintext:
        rule = "needs --tls-ca, --tls-cert and --tls-key (or --plaintext, in a lab)"
        raise ConfigError("store", url, rule)
    if plaintext or tls is None:
        return HubStore(address, options=options)
    client_context(tls)  # so that wrong files are told now and not with every connection
    return HubStore(address, tls=tls, options=options)
