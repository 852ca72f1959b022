"""A kubeconfig, as kubectl reads it, to a `KubeLogin`.

In: its path. Out: the login of its current context. Keys and tokens that stand inside of it reach
OpenSSL through memory files, never through the disk, and no message quotes what stands there. Read
anew whenever it, or a file that it names, is another (`Renewed`): tools that renew certificates
write new ones into the kubeconfig itself.

What a kubeconfig can say and this cannot do (exec plugins, proxies, passwords) is refused with its
name, not ignored.
"""

import base64
import binascii
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from podway.errors import ConfigError
from podway.model.secret import Secret
from podway.store.http_client import HttpServer
from podway.store.kube_login import KubeLogin, parse_server, port_of
from podway.store.renewed import Reading
from podway.store.tls import load_identity, trusting

T = TypeVar("T")
_PLACE = re.compile(r"line \d+, column \d+|byte \d+")


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


def login_by_kubeconfig(path: Path, reading: Reading = Path) -> KubeLogin:
    """Return the login of the current context of the kubeconfig *path*.

    Paths inside of it are relative to its directory, as kubectl has it. *reading* hears of it and
    of the files with certificates and keys that it names (see `Renewed`).

    Raises:
        ConfigError: it cannot be read, says nothing usable, or wants what this cannot do.
    """
    config = _read_kubeconfig(reading(path))
    context = _chosen(path, "context", config.current_context, config.contexts).context
    cluster = _chosen(path, "cluster", context.cluster, config.clusters).cluster
    user = _User()
    if context.user:
        user = _chosen(path, "user", context.user, config.users).user
    _refuse_unknown(path, cluster, user)
    return _login(path, cluster, user, reading)


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


def _login(path: Path, cluster: _Cluster, user: _User, reading: Reading) -> KubeLogin:
    url = parse_server(f"server of kubeconfig {path}", cluster.server)
    context = _context(path, cluster, user, reading) if url.scheme == "https" else None
    name = cluster.tls_server_name or None
    return KubeLogin(
        server=HttpServer(str(url.hostname), port_of(url), context, name),
        path=url.path.rstrip("/"),
        token_file=path.parent / user.token_file if user.token_file else None,
        token=_inline_token(path, user.token),
    )


def _inline_token(path: Path, text: str) -> Secret:
    token = text.strip()
    if not (token.isascii() and token.isprintable()):
        rule = "must be one line of ASCII text, or a tokenFile"
        raise ConfigError(f"token of kubeconfig {path}", "(not shown)", rule)
    return Secret(token)


def _context(path: Path, cluster: _Cluster, user: _User, reading: Reading) -> ssl.SSLContext:
    """Return TLS that trusts what *cluster* says, and shows what *user* says."""
    with _file(
        path, cluster.certificate_authority, cluster.certificate_authority_data, reading
    ) as authority:
        context = trusting(f"certificate-authority of kubeconfig {path}", authority)
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with (
        _file(path, user.client_certificate, user.client_certificate_data, reading) as certificate,
        _file(path, user.client_key, user.client_key_data, reading) as key,
    ):
        if certificate is not None:
            name = f"client-certificate and client-key of kubeconfig {path}"
            load_identity(context, name, certificate, key)
    return context


@contextmanager
def _file(kubeconfig: Path, name: str, data: str, reading: Reading) -> Iterator[Path | None]:
    """Yield the file *name*, or one in memory that holds *data* (base64), which wins."""
    if not data:
        yield reading(kubeconfig.parent / name) if name else None
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
