"""One API server for all tests here; each test begins without Nodes."""

from collections.abc import Iterator

import pytest

from kube_apiserver.server import Admin, KubeServer, running_kube_server


@pytest.fixture(scope="session")
def running_server() -> Iterator[KubeServer]:
    with running_kube_server() as server:
        yield server


@pytest.fixture
def server(running_server: KubeServer) -> Iterator[KubeServer]:
    yield running_server
    running_server.admin().remove_all_nodes()


@pytest.fixture
def admin(server: KubeServer) -> Admin:
    return server.admin()
