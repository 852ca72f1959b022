"""A kubeconfig that is replaced while a store uses it: by tools that renew what stands inside."""

import base64
import json
import logging
from functools import partial
from pathlib import Path

import pytest

from kube_apiserver.server import ADMIN_TOKEN, Admin, Json, KubeServer, kubeconfig
from kube_apiserver.stores import claim, net_conf, next_event, run_scenario
from podway.store.kube import KubeOptions, KubeStore
from podway.store.kubeconfig import login_by_kubeconfig
from podway.store.protocol import Delta, Snapshot, StoreAway
from podway.store.refusals import NotAllowed
from podway.store.renewed import Renewed
from store.pem import Authority


def inline(path: Path) -> str:
    """Return what *path* holds, as it stands in a kubeconfig."""
    return base64.b64encode(path.read_bytes()).decode()


def certificate_of(authority: Authority, user: str) -> Json:
    """Return a kubeconfig's user, who has a certificate from *authority*."""
    certificate, key = authority.sign(user)
    return {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}


class Renewing:
    """A store, and the kubeconfig by which it logs in, everything inline."""

    def __init__(self, server: KubeServer, directory: Path) -> None:
        self.path = directory / "kubeconfig"
        self._cluster = {"server": f"https://127.0.0.1:{server.port}"}
        self._server = server
        self.write({"token": ADMIN_TOKEN})
        login = Renewed(partial(login_by_kubeconfig, self.path))
        self.store = KubeStore(login, KubeOptions(net_conf=net_conf(directory)))

    def write(self, user: Json, trusted: Path | None = None) -> None:
        """Have the kubeconfig name *user*, and trust *trusted*, or who has signed the server's."""
        authority = {"certificate-authority-data": inline(trusted or self._server.ca)}
        self.path.write_text(json.dumps(kubeconfig({**self._cluster, **authority}, user)))


def test_a_certificate_inside_of_it(server: KubeServer, tmp_path: Path) -> None:
    """The API server says whom it takes us for; neither user may do anything."""

    async def scenario() -> None:
        renewing = Renewing(server, tmp_path)
        store = renewing.store
        for user in ("first", "second"):
            renewing.write(certificate_of(server.clients, user))
            with pytest.raises(NotAllowed, match=f'"{user}"'):
                await store.list_nodes()
        foreign = Authority(tmp_path / "foreign")
        renewing.write(certificate_of(foreign, "third"))
        with pytest.raises(StoreAway, match="401"):
            await store.list_nodes()
        renewing.write({"token": ADMIN_TOKEN})
        assert await store.list_nodes() == ()
        await store.close()

    run_scenario(scenario)


def test_an_authority_that_was_taken_out_is_trusted_no_more(
    server: KubeServer, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path / "foreign")

    async def scenario() -> None:
        renewing = Renewing(server, tmp_path)
        assert await renewing.store.list_nodes() == ()
        renewing.write({"token": ADMIN_TOKEN}, foreign.ca)
        with pytest.raises(StoreAway, match="not trusted"):
            await renewing.store.list_nodes()
        renewing.write({"token": ADMIN_TOKEN})
        assert await renewing.store.list_nodes() == ()
        await renewing.store.close()

    run_scenario(scenario)


def test_a_kubeconfig_that_is_just_being_written(
    server: KubeServer, admin: Admin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What stood there before is used on, and that is said once; nothing of it is quoted."""
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        renewing = Renewing(server, tmp_path)
        store, whole = renewing.store, renewing.path.read_text()
        events = store.watch()
        await next_event(events, Snapshot)
        for text in ("", whole[: len(whole) // 2], whole[:-9]):
            renewing.path.write_text(text)
            await store.claim(claim("n1"))
        await next_event(events, Delta)
        renewing.path.write_text(whole)
        await store.renew("n1")
        await store.close()

    with caplog.at_level(logging.DEBUG, "podway"):
        run_scenario(scenario)
    told = [record for record in caplog.records if record.name == "podway.store"]
    assert [record.levelname for record in told] == ["WARNING", "INFO"]
    assert ADMIN_TOKEN not in str([record.__dict__ for record in caplog.records])
