"""From a URL to a store: which engine serves it. Agent and command line open their store here.

::

    unix:/PATH                               a hub on this machine
    tcp:HOST:PORT                            a hub anywhere
    etcd:http://HOST:PORT[,...][/PREFIX]     etcd v3, with flannel's keys
    etcd:https://HOST:PORT[,...][/PREFIX]    the same, over TLS
    kubernetes:[KUBECONFIG]                  a Kubernetes cluster, from a pod or by kubeconfig

An engine is a class that keeps `podway.store.protocol.AdminStore` and a function that opens it; a
further one takes a line in `_OPENERS`. Only the engine that is used is ever imported: each daemon
pays for what it uses.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from podway.errors import ArgumentError
from podway.model.networks import Network, parse_network
from podway.store.access import StoreAccess
from podway.store.protocol import AdminStore

if TYPE_CHECKING:
    from podway.store.hub import HubOptions, HubStore
    from podway.store.tls import TlsFiles

DEFAULT_URL = "unix:/run/podway/hub.sock"
Opener: TypeAlias = Callable[[str, StoreAccess], AdminStore]


def open_store(url: str, access: StoreAccess | None = None) -> AdminStore:
    """Return the store at *url*; it connects when first used.

    Raises:
        ConfigError: the URL names no store that we know, or *access* does not fit it.
    """
    scheme = url.partition(":")[0]
    opener = _OPENERS.get(scheme)
    if opener is None:
        known = ", ".join(f"{each}:" for each in _OPENERS)
        shown = f"{scheme}:..." if "@" in url else url  # it may hold a password
        raise ArgumentError("store", shown, f"must begin with {known} (see 'podway agent --help')")
    return opener(url, access or StoreAccess())


def net_conf_parser(url: str) -> Callable[[str], Network]:
    """Return how the store at *url* reads a net-conf.json: flannel's own as flanneld does.

    (They differ in what no ``Backend`` means; a hub before another store tells what that one does.)
    """
    if url.partition(":")[0] not in {"etcd", "kubernetes"}:
        return parse_network
    from podway.store.flannel_data import parse_net_conf  # noqa: PLC0415

    return parse_net_conf


def open_hub(
    url: str,
    *,
    tls: "TlsFiles | None" = None,
    plaintext: bool = False,
    options: "HubOptions | None" = None,
) -> "HubStore":
    """Return the hub at *url* (``unix:/PATH``, ``tcp:HOST:PORT``); connects when first used.

    Over TCP the store is reached by mutual TLS with *tls*, or, for labs, openly with *plaintext*.

    Raises:
        ConfigError: the URL names no hub, or its TLS files cannot be used.
    """
    from podway.store.address import UnixAddress, parse_hub_address  # noqa: PLC0415
    from podway.store.hub import HubStore  # noqa: PLC0415
    from podway.store.renewed import Renewed  # noqa: PLC0415
    from podway.store.tls import client_context  # noqa: PLC0415

    address = parse_hub_address("store", url)
    if isinstance(address, UnixAddress):
        return HubStore(address, options=options)
    if tls is None and not plaintext:
        rule = "needs --tls-ca, --tls-cert and --tls-key (or --plaintext, in a lab)"
        raise ArgumentError("store", url, rule)
    if plaintext or tls is None:
        return HubStore(address, options=options)
    return HubStore(address, tls=Renewed(partial(client_context, tls)), options=options)


def _open_hub(url: str, access: StoreAccess) -> AdminStore:
    from podway.store.tls import tls_files  # noqa: PLC0415

    if access.store_user:
        raise ArgumentError("--store-user", access.store_user, "a hub knows nodes by certificate")
    return open_hub(url, tls=tls_files(access), plaintext=access.plaintext)


def _open_etcd(url: str, access: StoreAccess) -> AdminStore:
    from podway.store.etcd_open import open_etcd  # noqa: PLC0415

    return open_etcd(url, access)


def _open_kubernetes(url: str, access: StoreAccess) -> AdminStore:
    from podway.store.kube_url import open_kube  # noqa: PLC0415

    return open_kube(url, access)


_OPENERS: Mapping[str, Opener] = {
    "unix": _open_hub,
    "tcp": _open_hub,
    "etcd": _open_etcd,
    "kubernetes": _open_kubernetes,
}
