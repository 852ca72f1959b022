"""How to reach a Kubernetes API server, and as whom: a pod's service account, or a kubeconfig.

In: the files that the kubelet puts into every pod, or a kubeconfig as kubectl reads it. Out: a
`KubeLogin`. Hard is that a token does not last: the kubelet replaces the file within the hour, so
it is read anew for every request (there are few) and never kept. Keys and tokens that stand inside
of a kubeconfig reach OpenSSL through memory files, never through the disk.

What a kubeconfig can say and this cannot do (exec plugins, proxies, passwords) is refused with its
name, not ignored.
"""

import base64
import binascii
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from podway.errors import ConfigError
from podway.model.secret import Secret
from podway.store.http_client import HttpServer
from podway.store.protocol import StoreAway
from podway.store.tls import RenewedFiles, load_authority, load_pem, trusting

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")

T = TypeVar("T")
_PLACE = re.compile(r"line \d+, column \d+|byte \d+")
_PORTS = {"http": 80, "https": 443}


class KubeLogin(Struct, frozen=True, kw_only=True):
    """One API server and one identity.

    Attributes:
        server: where it listens, and how it proves who it is (and we, with a certificate).
        path: prefix of every path, "" mostly (an API server behind a gateway has one).
        token_file: holds our bearer token, now; None without.
        token: our bearer token when it stands in the kubeconfig itself.
        files: certificates and key that lie in files of their own.
    """

    server: HttpServer
    path: str = ""
    token_file: Path | None = None
    token: Secret = Secret("")
    files: RenewedFiles | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that say who we are, at this moment, and renew our certificate.

        Raises:
            StoreAway: the token's file cannot be read now.
        """
        if self.files is not None:
            self.files.look()
        if self.token_file is not None:
            return _bearer(_read_token(self.token_file))
        return _bearer(self.token.value) if self.token else {}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "must be ASCII text"
        raise StoreAway(f"token file {path}: {reason}") from error
    if not token or not token.isprintable():
        raise StoreAway(f"token file {path}: must hold one token")
    return token


# -- in a pod


def login_in_cluster(
    environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT_DIR
) -> KubeLogin:
    """Return the login of the pod in which this runs.

    Args:
        environment: the process's; has KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
        directory: where the kubelet keeps ``token`` and ``ca.crt``.

    Raises:
        ConfigError: this is no pod, or its service account has no certificate of the API server.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT") or "443"
    if not host or not port.isdigit():
        rule = (
            "needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which every pod has; "
            "outside of a cluster name a kubeconfig: kubernetes:/PATH"
        )
        raise ConfigError("store", "kubernetes:", rule)
    authority = directory / "ca.crt"
    context = trusting("ca.crt", authority)
    load = partial(load_authority, field="ca.crt", authority=authority)
    return KubeLogin(
        server=HttpServer(host.strip("[]"), int(port), context),
        token_file=directory / "token",
        files=RenewedFiles([authority], context, load),
    )


# -- another server


def login_without(server: str) -> KubeLogin:
    """Return the login of nobody at *server*, a URL (``kubectl proxy`` takes such).

    Raises:
        ConfigError: it is none.
    """
    nobody = KubeLogin(server=HttpServer("", 0))
    context = trusting("server", None) if server.startswith("https:") else None
    return at_server(replace(nobody, server=HttpServer("", 0, context)), server)


def at_server(login: KubeLogin, server: str) -> KubeLogin:
    """Return *login*, at the API server with the URL *server* in place of its own.

    Raises:
        ConfigError: it is no URL of one.
    """
    url = _parse_server("server", server)
    context = login.server.tls if url.scheme == "https" else None
    port = url.port or _PORTS[url.scheme]
    where = HttpServer(str(url.hostname), port, context, login.server.tls_name)
    return replace(login, server=where, path=url.path.rstrip("/"))


# -- a kubeconfig


class _Cluster(Struct, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class _User(Struct, rename="kebab"):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    exec: dict[str, object] | None = None
    auth_provider: dict[str, object] | None = None


class _Context(Struct):
    cluster: str
    user: str = ""


class _NamedCluster(Struct):
    name: str
    cluster: _Cluster


class _NamedUser(Struct):
    name: str
    user: _User


class _NamedContext(Struct):
    name: str
    context: _Context


class _Kubeconfig(Struct, rename="kebab"):
    current_context: str = ""
    clusters: list[_NamedCluster] = []
    users: list[_NamedUser] = []
    contexts: list[_NamedContext] = []


def login_by_kubeconfig(path: Path) -> KubeLogin:
    """Return the login of the current context of the kubeconfig *path*.

    Paths inside of it are relative to its directory, as kubectl has it.

    Raises:
        ConfigError: it cannot be read, says nothing usable, or wants what this cannot do.
    """
    config = _read_kubeconfig(path)
    context = _chosen(path, "context", config.current_context, config.contexts).context
    cluster = _chosen(path, "cluster", context.cluster, config.clusters).cluster
    user = _User()
    if context.user:
        user = _chosen(path, "user", context.user, config.users).user
    _refuse_unknown(path, cluster, user)
    return _login(path, cluster, user)


def _read_kubeconfig(path: Path) -> _Kubeconfig:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("kubeconfig", str(path), f"must be readable: {error.strerror}") from error
    try:
        return _decode(data)
    except msgspec.ValidationError as error:
        raise ConfigError("kubeconfig", str(path), f"must be a kubeconfig: {error}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # Only the place: what stands there may be a token.
        found = _PLACE.search(str(error))
        rule = f"must be YAML or JSON: {found[0] if found else 'it is none'}"
        raise ConfigError("kubeconfig", str(path), rule) from None
    except ImportError as error:
        rule = "is YAML, which needs PyYAML: pip install 'podway[kubeconfig]', or write it as JSON"
        raise ConfigError("kubeconfig", str(path), rule) from error


def _decode(data: bytes) -> _Kubeconfig:
    """Decode JSON, which is YAML too, without the YAML library."""
    if data.lstrip()[:1] == b"{":
        return msgspec.json.decode(data, type=_Kubeconfig)
    return msgspec.yaml.decode(data, type=_Kubeconfig)


def _chosen(path: Path, kind: str, name: str, entries: list[T]) -> T:
    for entry in entries:
        if getattr(entry, "name", None) == name:
            return entry
    known = ", ".join(str(getattr(entry, "name", "")) for entry in entries) or "none"
    rule = f"must name one of its {kind}s, which are: {known}"
    raise ConfigError(f"{kind} of kubeconfig {path}", name, rule)


def _refuse_unknown(path: Path, cluster: _Cluster, user: _User) -> None:
    where = f"kubeconfig {path}"
    use = "use a token, tokenFile or client certificate"
    if user.exec is not None:
        command = user.exec.get("command", "?")
        raise ConfigError(where, f"exec: {command}", f"credential plugins are not run; {use}")
    if user.auth_provider is not None:
        name = user.auth_provider.get("name", "?")
        raise ConfigError(where, f"auth-provider: {name}", f"is not supported; {use}")
    if user.username or user.password:
        raise ConfigError(where, "username", f"Kubernetes knows no passwords any more; {use}")
    if cluster.proxy_url:
        raise ConfigError(where, "proxy-url", "proxies are not supported: name the server itself")


def _login(path: Path, cluster: _Cluster, user: _User) -> KubeLogin:
    url = _parse_server(f"server of kubeconfig {path}", cluster.server)
    assert url.hostname is not None
    context, files = None, None
    if url.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load = partial(_load, path, cluster, user)
        load(context)
        files = RenewedFiles(_own_files(path, cluster, user), context, load)
    return KubeLogin(
        server=HttpServer(
            url.hostname, url.port or _PORTS[url.scheme], context, cluster.tls_server_name or None
        ),
        path=url.path.rstrip("/"),
        token_file=path.parent / user.token_file if user.token_file else None,
        token=_inline_token(path, user.token),
        files=files,
    )


def _inline_token(path: Path, text: str) -> Secret:
    token = text.strip()
    if not (token.isascii() and token.isprintable()):
        rule = "must be one line of ASCII text, or a tokenFile"
        raise ConfigError(f"token of kubeconfig {path}", "(not shown)", rule)
    return Secret(token)


def _own_files(path: Path, cluster: _Cluster, user: _User) -> list[Path]:
    names = (cluster.certificate_authority, user.client_certificate, user.client_key)
    return [path.parent / name for name in names if name]


def _parse_server(field: str, text: str) -> SplitResult:
    url = urlsplit(text)
    try:
        is_port = url.port is None or url.port > 0
    except ValueError:
        is_port = False
    is_plain = text.isascii() and text.isprintable() and not set(text) & {" ", "@"}
    if url.scheme not in _PORTS or not url.hostname or not is_port or not is_plain:
        shown = "(not shown)" if "@" in text else text  # it may hold a password
        raise ConfigError(field, shown, "must be a URL such as https://10.0.0.1:6443")
    return url


def _load(path: Path, cluster: _Cluster, user: _User, context: ssl.SSLContext) -> None:
    """Have *context* trust what *cluster* says, and show what *user* says."""
    with _file(path, cluster.certificate_authority, cluster.certificate_authority_data) as ca:
        load_authority(context, f"certificate-authority of kubeconfig {path}", ca)
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with (
        _file(path, user.client_certificate, user.client_certificate_data) as certificate,
        _file(path, user.client_key, user.client_key_data) as key,
    ):
        if certificate is not None:
            name = f"client-certificate and client-key of kubeconfig {path}"
            load_pem(name, certificate, lambda: context.load_cert_chain(certificate, key))


@contextmanager
def _file(kubeconfig: Path, name: str, data: str) -> Iterator[Path | None]:
    """Yield the file *name*, or one in memory that holds *data* (base64), which wins."""
    if not data:
        yield kubeconfig.parent / name if name else None
        return
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        rule = f"its certificates and keys must be base64: {error}"
        raise ConfigError("kubeconfig", str(kubeconfig), rule) from error
    memory = os.memfd_create("kubeconfig")
    try:
        os.write(memory, content)
        yield Path(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
