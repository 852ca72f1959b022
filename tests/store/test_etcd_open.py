"""What an etcd is opened with, before anything is asked of it: URLs, files, and what is refused."""

from pathlib import Path

import pytest

from podway.errors import ConfigError
from podway.store.access import StoreAccess
from podway.store.engines import open_store
from store.etcd_access import PASSWORD

ACCESS = StoreAccess()


@pytest.mark.parametrize(
    ("url", "access"),
    [
        pytest.param("etcd:127.0.0.1:2379", ACCESS, id="no scheme"),
        pytest.param("etcd:ftp://127.0.0.1:2379", ACCESS, id="another scheme"),
        pytest.param("etcd:http://", ACCESS, id="no host"),
        pytest.param("etcd:http://a:1,https://b:1", ACCESS, id="two schemes"),
        pytest.param("etcd:http://a:1/x,b:1", ACCESS, id="prefix in the middle"),
        pytest.param("etcd:http://a:99999", ACCESS, id="no such port"),
        pytest.param("etcd:http://a:1//x", ACCESS, id="empty part of a prefix"),
        pytest.param("etcd:http://a:1/x?y=1", ACCESS, id="a query"),
        pytest.param("etcd:http://a:1", StoreAccess(tls_ca=Path("/ca")), id="TLS files, no TLS"),
        pytest.param("etcd:https://a:1", StoreAccess(tls_ca=Path("/none")), id="no such authority"),
        pytest.param(
            "etcd:https://a:1", StoreAccess(tls_cert=Path("/c")), id="a certificate without a key"
        ),
        pytest.param("etcd:http://10.0.0.1:1", StoreAccess(store_user="u"), id="password in clear"),
        pytest.param("etcd:https://a:1", StoreAccess(store_user="u"), id="no password"),
        pytest.param("gopher://a", ACCESS, id="no engine"),
    ],
)
def test_what_cannot_be_opened(
    url: str, access: StoreAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    if access.store_user and "10.0.0.1" in url:
        monkeypatch.setenv("PODWAY_STORE_PASSWORD", PASSWORD)
    with pytest.raises(ConfigError):
        open_store(url, access)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("etcd:http://root:{}@10.0.0.1:2379", id="where it would be"),
        pytest.param("etcd:http://a:1,root:{}@b:2379", id="of a further endpoint"),
        pytest.param("etcd://root:{}@10.0.0.1:2379", id="no scheme"),
        pytest.param("etcd:http://root:{}@10.0.0.1:99999", id="no such port"),
        pytest.param("etcd:http://root:a/{}@10.0.0.1", id="with a slash"),
        pytest.param("http://root:{}@10.0.0.1:2379", id="no engine"),
    ],
)
def test_a_password_on_the_command_line_is_refused_unseen(url: str) -> None:
    with pytest.raises(ConfigError) as failure:
        open_store(url.format(PASSWORD))
    assert PASSWORD not in str(failure.value)


def test_a_password_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    path.chmod(0o644)
    access = StoreAccess(store_user="u", store_password_file=path)
    with pytest.raises(ConfigError):
        open_store("etcd:https://10.0.0.1:2379", access)
