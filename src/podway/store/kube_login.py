"""How to reach a Kubernetes API server, and as whom.

In: the files that the kubelet puts into every pod, a URL, or what `kubeconfig` has read. Out: a
`KubeLogin`. Hard is that nothing of it lasts. The kubelet replaces the token within the hour, so
its file is read for every request (there are few) and the token never kept; authorities are read
again when their file is another (`Renewed`, which makes a whole login anew: what is shown to a
server must be meant for that server).
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from podway.errors import ConfigError
from podway.model.secret import Secret
from podway.store.http_client import HttpServer
from podway.store.protocol import StoreAway
from podway.store.renewed import Reading
from podway.store.tls import trusting

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PORTS = {"http": 80, "https": 443}


class KubeLogin(Struct, frozen=True, kw_only=True):
    """One API server and one identity.

    Attributes:
        server: where it listens, and how it proves who it is (and we, with a certificate).
        path: prefix of every path, "" mostly (an API server behind a gateway has one).
        token_file: holds our bearer token, now; None without.
        token: our bearer token when it stands in the kubeconfig itself.
    """

    server: HttpServer
    path: str = ""
    token_file: Path | None = None
    token: Secret = Secret("")

    def headers(self) -> dict[str, str]:
        """Return the headers that say who we are, at this moment.

        Raises:
            StoreAway: the token's file cannot be read now.
        """
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
    environment: Mapping[str, str],
    directory: Path = SERVICE_ACCOUNT_DIR,
    reading: Reading = Path,
) -> KubeLogin:
    """Return the login of the pod in which this runs.

    Args:
        environment: the process's; has KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
        directory: where the kubelet keeps ``token`` and ``ca.crt``.
        reading: hears of the latter (see `Renewed`).

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
    context = trusting("ca.crt", reading(directory / "ca.crt"))
    return KubeLogin(
        server=HttpServer(host.strip("[]"), int(port), context), token_file=directory / "token"
    )


# -- another server


def login_without(server: str) -> KubeLogin:
    """Return the login of nobody at *server*, a URL (``kubectl proxy`` takes such).

    Raises:
        ConfigError: it is none.
    """
    return at_server(KubeLogin(server=HttpServer("", 0)), server)


def at_server(login: KubeLogin, server: str) -> KubeLogin:
    """Return *login*, at the API server with the URL *server* in place of its own.

    Raises:
        ConfigError: it is no URL of one.
    """
    url = parse_server("server", server)
    context = None
    if url.scheme == "https":
        context = login.server.tls or trusting("server", None)
    where = HttpServer(str(url.hostname), port_of(url), context, login.server.tls_name)
    return replace(login, server=where, path=url.path.rstrip("/"))


def parse_server(field: str, text: str) -> SplitResult:
    """Return the URL of an API server. Raises ConfigError, with *field*, for anything else."""
    try:
        url = urlsplit(text)
        is_server = url.scheme in _PORTS and bool(url.hostname) and url.port != 0
    except ValueError:
        is_server = False
    is_plain = text.isascii() and text.isprintable() and not set(text) & {" ", "@"}
    if not is_server or not is_plain:
        shown = "(not shown)" if "@" in text else text  # it may hold a password
        raise ConfigError(field, shown, "must be a URL such as https://10.0.0.1:6443")
    return url


def port_of(url: SplitResult) -> int:
    """Return the port that *url*, of `parse_server`, names or means."""
    return url.port or _PORTS[url.scheme]
