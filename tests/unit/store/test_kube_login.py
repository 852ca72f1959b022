"""Logins from kubeconfigs and from a pod's files; what cannot be done is refused by name."""

import base64
import json
import ssl
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from podway.errors import ConfigError
from podway.store.engines import open_store
from podway.store.kube_login import KubeLogin, login_in_cluster
from podway.store.kube_url import login_of, parse_kube_url
from podway.store.kubeconfig import login_by_kubeconfig
from podway.store.protocol import StoreAway
from podway.store.renewed import Renewed
from store.pem import Authority


def write(directory: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_yaml_and_json_are_one(tmp_path: Path) -> None:
    path = write(tmp_path, {"server": "http://10.0.0.1:8080/k8s/clusters/c1/"}, {"token": "t"})
    login = login_by_kubeconfig(path)
    assert (login.server.host, login.server.port, login.server.tls) == ("10.0.0.1", 8080, None)
    assert login.path == "/k8s/clusters/c1"
    assert login.headers() == {"Authorization": "Bearer t"}
    path.write_text(json.dumps(yaml.safe_load(path.read_text())))
    assert login_by_kubeconfig(path) == login


def test_a_token_file_is_read_each_time_and_lies_beside_the_kubeconfig(tmp_path: Path) -> None:
    path = write(tmp_path, {"server": "http://[fd00::1]:8080"}, {"tokenFile": "tok"})
    login = login_by_kubeconfig(path)
    assert login.server.host == "fd00::1"
    for text in ("one", "two\n"):
        (tmp_path / "tok").write_text(text)
        assert login.headers() == {"Authorization": f"Bearer {text.strip()}"}
    for text in ("", "a\nb", "\x00"):
        (tmp_path / "tok").write_text(text)
        with pytest.raises(StoreAway):
            login.headers()


def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    """By the next connection; files that are only half there are read with the one after."""
    authority = Authority(tmp_path)
    certificate, key = authority.sign("127.0.0.1")
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": str(authority.ca)}
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    login = Renewed(partial(login_by_kubeconfig, write(tmp_path, cluster, user)))
    seen = [peer_certificate(login.now(), authority)]
    authority.sign("127.0.0.1")
    whole = key.read_bytes()
    key.write_bytes(b"")
    seen.append(peer_certificate(login.now(), authority))
    key.write_bytes(whole)
    seen.append(peer_certificate(login.now(), authority))
    assert seen[0] == seen[1]
    assert seen[2] == ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert seen[2] != seen[0]


def peer_certificate(login: KubeLogin, authority: Authority) -> bytes | None:
    """Return the certificate that a server is shown with *login*."""
    assert login.server.tls is not None
    own = authority.sign("server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*own)
    serving.load_verify_locations(authority.ca)
    serving.verify_mode = ssl.CERT_REQUIRED
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = login.server.tls.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return server.getpeercert(binary_form=True)


def test_the_token_is_shown_nowhere(tmp_path: Path) -> None:
    login = login_by_kubeconfig(write(tmp_path, {"server": "http://h:1"}, {"token": "s3cret"}))
    assert "s3cret" not in repr(login) + str(login)


@pytest.mark.parametrize(
    ("cluster", "user", "told"),
    [
        pytest.param({"server": "ftp://x"}, {}, "server", id="scheme"),
        pytest.param({"server": "https://x:99999"}, {}, "server", id="port"),
        pytest.param({"server": "https://[fd00::1"}, {}, "server", id="torn address"),
        pytest.param({}, {}, "server", id="no server"),
        pytest.param({"server": "https://x/a b"}, {}, "server", id="space in a path"),
        pytest.param({"server": "https://u:p@x"}, {}, "(not shown)", id="password in a URL"),
        pytest.param({"server": "https://x"}, {"token": "two\nlines"}, "token", id="token"),
        pytest.param({"server": "https://x"}, {"token": "t\u00f6ken"}, "token", id="odd token"),
        pytest.param({"server": "https://x", "proxy-url": "http://p"}, {}, "proxy-url", id="proxy"),
        pytest.param({"server": "https://x"}, {"exec": {"command": "aws"}}, "aws", id="exec"),
        pytest.param(
            {"server": "https://x"}, {"auth-provider": {"name": "gcp"}}, "gcp", id="auth-provider"
        ),
        pytest.param({"server": "https://x"}, {"username": "u"}, "username", id="password"),
        pytest.param(
            {"server": "https://x", "certificate-authority": "nowhere.pem"},
            {},
            "certificate-authority",
            id="missing authority",
        ),
        pytest.param(
            {"server": "https://x", "certificate-authority-data": "%%"}, {}, "base64", id="base64"
        ),
        pytest.param(
            {"server": "https://x"},
            {
                "client-certificate-data": base64.b64encode(b"x").decode(),
                "client-key-data": base64.b64encode(b"y").decode(),
            },
            "client-certificate",
            id="no certificate",
        ),
    ],
)
def test_what_is_refused(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        login_by_kubeconfig(write(tmp_path, cluster, user))
    assert told in str(caught.value)


def test_a_token_as_yaml_writes_blocks(tmp_path: Path) -> None:
    login = login_by_kubeconfig(write(tmp_path, {"server": "http://h:1"}, {"token": "s3cret\n"}))
    assert login.headers() == {"Authorization": "Bearer s3cret"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('users:\n- name: x\n  user:\n    token: "s3cret\n', id="torn"),
        pytest.param("users:\n- name: x\n  user:\n    token: s3cret\n\tx: 1\n", id="tab"),
        pytest.param("users:\n- name: x\n  user: s3cret\n", id="another type"),
        pytest.param("users:\n- name: x\n  user:\n    token: @s3cret\n", id="reserved"),
        pytest.param("users:\n- name: x\n  user:\n    token: %s3cret: {\n", id="directive"),
        pytest.param('{"users":[{"name":"x","user":{"token":"s3cret}]}', id="torn JSON"),
        pytest.param("users:\n- name: x\n  user:\n    token: *s3cret\n", id="alias"),
        pytest.param("users:\n- name: x\n  user:\n    token: !s3cret x\n", id="tag"),
    ],
)
def test_a_spoilt_kubeconfig_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        login_by_kubeconfig(path)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "a: [", "current-context: x", "\x00", "clusters: 7"]
)
def test_what_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigError, match="kubeconfig"):
        login_by_kubeconfig(path)


def test_a_kubeconfig_that_says_something_else_is_used_as_a_whole(tmp_path: Path) -> None:
    """What is shown to a server is never what was meant for another."""
    path = write(tmp_path, {"server": "http://one:1/a"}, {"token": "s3cret-1"})
    login = login_of(f"kubernetes:{path}", path)
    write(tmp_path, {"server": "http://two:2/b"}, {"token": "s3cret-2"})
    now = login.now()
    assert (str(now.server), now.path) == ("http://two:2", "/b")
    assert now.headers() == {"Authorization": "Bearer s3cret-2"}


def test_a_kubeconfig_that_is_spoilt_is_not_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, {"server": "http://one:1"}, {"token": "s3cret"})
    login = Renewed(partial(login_by_kubeconfig, path))
    before = login.now()
    whole = path.read_text()
    for text in (whole[:-9], whole + "x: @s3cret", "", whole.replace("u\n", "v\n", 1)):
        path.write_text(text)
        assert login.now() is before
    write(tmp_path, {"server": "https://u:s3cret@one"}, {"token": "two\ns3cret"})
    assert login.now() is before
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "s3cret" not in str([record.__dict__ for record in caplog.records])


def test_a_server_named_apart_is_asked_over_tls_if_it_says_https(tmp_path: Path) -> None:
    """Also where the kubeconfig's own speaks none: its token must not go in clear."""
    path = write(tmp_path, {"server": "http://one:1"}, {"token": "t"})
    login = login_of(f"kubernetes:{path}?server=https://two:2", path).now()
    assert str(login.server) == "https://two:2"


def test_in_a_pod(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        login_in_cluster({})
    with pytest.raises(ConfigError, match=r"ca\.crt"):
        login_in_cluster({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, tmp_path)


def test_urls() -> None:
    assert parse_kube_url("kubernetes:")[0] is None
    path, options = parse_kube_url(
        "kubernetes:/etc/k.conf?net-conf=/n.json&annotation-prefix=example.com/blue"
        "&set-network-unavailable=false"
    )
    assert path == Path("/etc/k.conf")
    assert (options.net_conf, options.prefix) == (Path("/n.json"), "example.com/blue-")
    assert not options.set_available


@pytest.mark.parametrize(
    "url",
    [
        "kubernetes:relative",
        "kubernetes://10.0.0.1:6443",
        "kubernetes:?net-conf=relative",
        "kubernetes:?unknown=1",
        "kubernetes:?set-network-unavailable=maybe",
        "kubernetes:/nonexistent/kubeconfig",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url)
