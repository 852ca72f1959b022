"""Where an etcd cluster listens and under which prefix a network's keys lie, as users write it.

``etcd:https://10.0.0.1:2379,10.0.0.2:2379/coreos.com/network``: the scheme once or with every
endpoint, the prefix after the last one; without one it is flannel's default.
"""

from urllib.parse import urlsplit

from msgspec import Struct

from podway.errors import ArgumentError

# flanneld --etcd-prefix
DEFAULT_PREFIX = "/coreos.com/network"
DEFAULT_PORT = 2379


class Endpoint(Struct, frozen=True):
    """One member of the cluster; an IPv6 *host* stands without brackets here."""

    host: str
    port: int = DEFAULT_PORT


class EtcdAddress(Struct, frozen=True, kw_only=True):
    """A cluster, and where in it.

    Attributes:
        endpoints: its members; any of them serves.
        tls: they speak TLS.
        prefix: of all keys, without a slash at its end.
    """

    endpoints: tuple[Endpoint, ...]
    tls: bool
    prefix: str = DEFAULT_PREFIX


def parse_etcd_url(url: str) -> EtcdAddress:
    """Return the address that *url* names.

    Raises:
        ConfigError: for anything else, with the rule.
    """
    if "@" in url:
        # Not shown: the value may hold a password.
        rule = "must hold no @: user and password are given apart, see --store-user"
        raise ArgumentError("store", "etcd:...", rule)
    first, *others = url.removeprefix("etcd:").split(",")
    scheme = first.partition("://")[0]
    if scheme not in {"http", "https"}:
        raise ArgumentError(
            "store", url, "needs a scheme: etcd:http://HOST:PORT or etcd:https://..."
        )
    texts = (first, *(each if "://" in each else f"{scheme}://{each}" for each in others))
    parsed = [_parse_endpoint(url, scheme, text) for text in texts]
    if any(path for _, path in parsed[:-1]):
        raise ArgumentError("store", url, "the prefix stands once, after the last endpoint")
    return EtcdAddress(
        endpoints=tuple(endpoint for endpoint, _ in parsed),
        tls=scheme == "https",
        prefix=_parse_prefix(url, parsed[-1][1]),
    )


def _parse_endpoint(url: str, scheme: str, text: str) -> tuple[Endpoint, str]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ArgumentError("store", url, f"{text}: {error}") from error
    if parts.scheme != scheme:
        raise ArgumentError("store", url, "all endpoints need the same scheme, http or https")
    if not host or parts.query or parts.fragment:
        raise ArgumentError("store", url, f"{text}: must be like {scheme}://10.0.0.1:2379")
    return Endpoint(host, port or DEFAULT_PORT), parts.path.rstrip("/")


def _parse_prefix(url: str, path: str) -> str:
    if "//" in path or not path.isprintable() or " " in path:
        rule = "the prefix must be like /coreos.com/network, without empty parts or spaces"
        raise ArgumentError("store", url, rule)
    return path or DEFAULT_PREFIX
