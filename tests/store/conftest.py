"""Real etcds for the tests here: to be broken, to be shared, with TLS, with users."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from podway.store.access import StoreAccess
from store.backings import NET
from store.etcd_access import PASSWORD, add_users, tls_process
from store.etcd_process import CONFIG, EtcdProcess
from store.flannel_nodes import CONFIG as FLANNEL
from store.pem import Authority

_numbers = itertools.count()


@pytest.fixture
def etcd() -> Iterator[EtcdProcess]:
    """One that the test may break, with a network in it."""
    with EtcdProcess() as process:
        process.put(CONFIG, NET)
        yield process


@pytest.fixture(scope="module")
def shared() -> Iterator[EtcdProcess]:
    """One that no test breaks; each has a `prefix` of its own."""
    with EtcdProcess() as process:
        yield process


@pytest.fixture
def prefix(shared: EtcdProcess) -> str:
    """Of a network that has a configuration and nothing else."""
    prefix = f"/flannel/{next(_numbers)}"
    shared.put(f"{prefix}/config", FLANNEL)
    return prefix


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("pem"))
    for name in ("server", "client"):
        authority.sign(name)
    authority.sign("nameless", common_name=False)
    return authority


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Iterator[EtcdProcess]:
    """An etcd that wants a certificate from everybody."""
    with tls_process(authority) as etcd:
        etcd.put(CONFIG, NET)
        yield etcd


@pytest.fixture
def users() -> Iterator[EtcdProcess]:
    """An etcd with users: root, and podway, which may use its own prefix and no other."""
    with EtcdProcess(arguments=("--auth-token-ttl", "1")) as etcd:
        add_users(etcd)
        etcd.ctl_arguments = [f"--user=root:{PASSWORD}"]
        yield etcd


@pytest.fixture
def account(tmp_path: Path) -> StoreAccess:
    """The user podway of `users`, with a file that holds its password."""
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return StoreAccess(store_user="podway", store_password_file=path)
