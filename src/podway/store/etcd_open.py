"""From an ``etcd:`` URL to an open store: members, certificates, login."""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from podway.errors import ArgumentError
from podway.store.access import StoreAccess, read_password
from podway.store.counts import StoreCounts
from podway.store.etcd import EtcdStore
from podway.store.etcd_address import EtcdAddress, parse_etcd_url
from podway.store.etcd_client import EtcdClient, Login
from podway.store.etcd_keys import EtcdKeys
from podway.store.etcd_watch import EtcdOptions
from podway.store.http_client import HttpClient, HttpServer
from podway.store.renewed import Reading, Renewed
from podway.store.tls import load_identity, trusting

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def open_etcd(url: str, access: StoreAccess, options: EtcdOptions | None = None) -> EtcdStore:
    """Return the store at *url* (see `parse_etcd_url`); it connects when first used.

    Raises:
        ConfigError: the URL, a file or their combination cannot be used.
    """
    address = parse_etcd_url(url)
    check_access(url, address, access)
    options = options or EtcdOptions()
    login = Login(access.store_user, Renewed(partial(read_password, access)))
    client = EtcdClient(
        _members(address, access, options), login, StoreCounts(), request_s=options.request_s
    )
    return EtcdStore(client, EtcdKeys(address.prefix), options)


def check_access(url: str, address: EtcdAddress, access: StoreAccess) -> None:
    """Refuse what would give a secret away, or would be passed over. Raises ConfigError."""
    given = [path for path in (access.tls_ca, access.tls_cert, access.tls_key) if path is not None]
    if given and not address.tls:
        raise ArgumentError("store", url, "has certificates (--tls-*) but no https")
    if (access.tls_cert is None) != (access.tls_key is None):
        raise ArgumentError("--tls-*", str(given[-1]), "--tls-cert and --tls-key go together")
    hosts = {endpoint.host for endpoint in address.endpoints}
    if access.store_user and not (address.tls or access.plaintext or hosts <= _LOOPBACK):
        rule = "a password needs https (or --plaintext, in a lab)"
        raise ArgumentError("--store-user", access.store_user, rule)


def _members(
    address: EtcdAddress, access: StoreAccess, options: EtcdOptions
) -> Callable[[], tuple[HttpClient, ...]]:
    """Return a function that gives a client per member, with the certificates that are there now.

    Raises:
        ConfigError: there are none that can be used.
    """
    context = Renewed(partial(client_context, access)) if address.tls else None
    servers = [HttpServer(each.host, each.port) for each in address.endpoints]
    clients = tuple(
        HttpClient(each, connect_s=options.connect_s, answer_s=options.request_s)
        for each in servers
    )

    def members() -> tuple[HttpClient, ...]:
        if context is not None:
            for client, server in zip(clients, servers, strict=True):
                client.use(replace(server, tls=context.now()))
        return clients

    return members


def client_context(access: StoreAccess, reading: Reading = Path) -> ssl.SSLContext:
    """Return TLS as flannel speaks it to etcd: 1.2 or later, a certificate of our own if asked for.

    Raises:
        ConfigError: a file cannot be used.
    """
    authority, certificate, key = (
        None if path is None else reading(path)
        for path in (access.tls_ca, access.tls_cert, access.tls_key)
    )
    context = trusting("--tls-ca", authority)
    if certificate is not None:
        load_identity(context, "--tls-cert", certificate, key)
    return context
