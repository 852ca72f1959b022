"""Which cluster, as users write it: ``kubernetes:[KUBECONFIG][?OPTION=VALUE&...]``.

::

    kubernetes:                                   the cluster of the pod in which this runs
    kubernetes:/etc/kubernetes/podway.conf        a kubeconfig, its current context
    kubernetes:?net-conf=/etc/net-conf.json       another place for the network's configuration
    kubernetes:?annotation-prefix=example.com     other annotations than flannel.alpha.coreos.com/
    kubernetes:?set-network-unavailable=false     leave that condition of the Node alone
    kubernetes:?server=http://127.0.0.1:8001      this API server, whatever the login says
"""

import os
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

from podway.errors import ArgumentError
from podway.store.access import StoreAccess
from podway.store.kube import DEFAULT_NET_CONF, KubeOptions, KubeStore
from podway.store.kube_annotations import DEFAULT_PREFIX, parse_prefix
from podway.store.kube_login import (
    KubeLogin,
    at_server,
    login_in_cluster,
    login_without,
)
from podway.store.kubeconfig import login_by_kubeconfig
from podway.store.renewed import Reading, Renewed

_OPTIONS = ("net-conf", "annotation-prefix", "set-network-unavailable", "server")
_FLAGS = {"true": True, "false": False}


def open_kube(url: str, access: StoreAccess | None = None) -> KubeStore:
    """Return the cluster at *url*; connects when first used.

    Raises:
        ConfigError: the URL breaks a rule, or there is no login for it.
    """
    if access is not None and access != StoreAccess():
        rule = "logs in by service account or kubeconfig alone: leave --tls-*, --store-* away"
        raise ArgumentError("store", url, rule)
    path, options = parse_kube_url(url)
    return KubeStore(login_of(url, path), options)


def login_of(url: str, path: Path | None) -> Renewed[KubeLogin]:
    """Return the login that *url* means, whose kubeconfig is *path*.

    Raises:
        ConfigError: there is none.
    """
    server = dict(parse_qsl(url.partition("?")[2])).get("server", "")
    return Renewed(partial(_load_login, path, server))


def _load_login(path: Path | None, server: str, reading: Reading) -> KubeLogin:
    if path is None and server:
        return login_without(server)
    if path is None:
        login = login_in_cluster(os.environ, reading=reading)
    else:
        login = login_by_kubeconfig(path, reading)
    return at_server(login, server) if server else login


def parse_kube_url(url: str) -> tuple[Path | None, KubeOptions]:
    """Return the kubeconfig (None: in the cluster) and the options that *url* names.

    Raises:
        ConfigError: it breaks a rule.
    """
    text, _, query = url.removeprefix("kubernetes:").partition("?")
    if (text and not text.startswith("/")) or text.startswith("//"):
        rule = "needs the absolute path of a kubeconfig, or nothing in a pod: kubernetes:[/PATH]"
        raise ArgumentError("store", url, rule)
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name in given:
        if name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise ArgumentError("store", url, f"has no option {name!r}; there are {known}")
    return (Path(text) if text else None), KubeOptions(
        prefix=parse_prefix(given.get("annotation-prefix", DEFAULT_PREFIX)),
        net_conf=_net_conf(url, given.get("net-conf", str(DEFAULT_NET_CONF))),
        set_available=_flag(url, given.get("set-network-unavailable", "true")),
    )


def _net_conf(url: str, text: str) -> Path:
    if not text.startswith("/"):
        raise ArgumentError("store", url, "net-conf must be an absolute path")
    return Path(text)


def _flag(url: str, text: str) -> bool:
    if text not in _FLAGS:
        raise ArgumentError("store", url, "set-network-unavailable must be true or false")
    return _FLAGS[text]
