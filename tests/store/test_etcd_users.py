"""etcd with users: who is let in, who is not and why, and what is never to be seen."""

import logging
from pathlib import Path

import pytest
from msgspec.structs import replace

from hub.clients import claim, next_event
from hub.hub_process import run_scenario
from podway.store.access import StoreAccess
from podway.store.protocol import Away, Snapshot, StoreAway, StoreError
from podway.store.refusals import NotAllowed
from store.etcd_access import PASSWORD, access_with, add_users, tls_process
from store.etcd_process import EtcdProcess
from store.pem import Authority
from store.streams import away, current, told_of

PEER = "10.9.52.0-24"


def test_a_user_logs_in_and_stays_so(users: EtcdProcess, account: StoreAccess) -> None:
    """Its token ends with every restart of etcd, and when users change; it logs in again."""

    async def scenario() -> None:
        store = users.open_store(access=account)
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("a", 1))
        await current(events, "a", node)
        users.kill()
        users.start()
        await away(events)
        users.ctl("user", "add", "another:one")
        assert await store.claim(claim("a", 1)) == node
        other = await store.claim(claim("b", 2))
        await current(events, "b", other)
        await store.close()

    run_scenario(scenario)


def test_a_watch_logs_in_again_by_itself(
    users: EtcdProcess, account: StoreAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is asked that would notice that the token has ended."""

    async def scenario() -> None:
        store = users.open_store(access=account)
        events = store.watch()
        await next_event(events, Snapshot)
        await store.claim(claim("a", 1))
        users.put(f"/coreos.com/network/subnets/{PEER}", '{"PublicIP":"192.168.64.3"}')
        await told_of(events, PEER)
        store._client._token = "ended.1"  # as any does that nobody used in an outage of minutes
        monkeypatch.setattr("podway.store.http_client.is_stranded", lambda _: True)
        store.recheck()
        monkeypatch.undo()
        await away(events)
        users.ctl("del", "--prefix", "/coreos.com/network/subnets")
        await current(events, "a", None)
        await store.close()

    run_scenario(scenario)


def test_users_that_may_not(users: EtcdProcess, account: StoreAccess, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    wrong.chmod(0o600)

    async def scenario() -> None:
        guessing = users.open_store(access=replace(account, store_password_file=wrong))
        with pytest.raises(NotAllowed):
            await guessing.get_network()
        assert isinstance(await anext(guessing.watch()), Away)
        nobody = users.open_store()
        with pytest.raises(StoreError):
            await nobody.get_network()
        elsewhere = users.open_store("/other", access=account)
        with pytest.raises(NotAllowed):
            await elsewhere.get_network()
        for store in (guessing, nobody, elsewhere):
            await store.close()

    run_scenario(scenario)


def test_a_user_with_a_certificate_has_no_common_name(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWAY_STORE_PASSWORD", PASSWORD)

    async def scenario(etcd: EtcdProcess) -> None:
        good, named = (
            etcd.open_store(access=replace(access_with(authority, name), store_user="podway"))
            for name in ("nameless", "client")
        )
        network = await good.get_network()
        assert network is not None
        # etcd's gateway cannot pass a common name on, and refuses to be misunderstood.
        with pytest.raises(StoreAway, match="common name"):
            await named.get_network()
        for store in (good, named):
            await store.close()

    with tls_process(authority) as etcd:
        add_users(etcd)
        run_scenario(lambda: scenario(etcd))


def test_a_password_for_an_etcd_without_users(tls: EtcdProcess, authority: Authority) -> None:
    async def scenario() -> None:
        access = replace(access_with(authority), store_user="podway")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PODWAY_STORE_PASSWORD", PASSWORD)
            store = tls.open_store(access=access)
        with pytest.raises(NotAllowed, match="does not ask for users"):
            await store.get_network()
        await store.close()

    run_scenario(scenario)


def test_the_password_is_seen_nowhere(
    users: EtcdProcess, account: StoreAccess, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        store = users.open_store("/other", access=account)
        shown = [repr(account), repr(store.__dict__), repr(store._client.__dict__)]
        for call in (store.get_network, store.list_nodes):
            with pytest.raises(StoreError) as failure:
                await call()
            shown += [str(failure.value), repr(failure.value.__cause__)]
        users.kill()
        with pytest.raises(StoreAway) as failure:
            await store.get_network()
        shown += [str(failure.value), repr(store._client.__dict__)]
        assert PASSWORD not in "".join(shown)
        await store.close()

    with caplog.at_level(logging.DEBUG):
        run_scenario(scenario)
    assert PASSWORD not in caplog.text
