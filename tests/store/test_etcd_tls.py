"""etcd over TLS: who is let in, who is not and why."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from hub.clients import claim, next_event
from hub.hub_process import run_scenario
from podway.store.access import StoreAccess
from podway.store.etcd_open import open_etcd
from podway.store.protocol import Away, Snapshot, StoreAway
from store.etcd_access import access_with
from store.etcd_process import QUICK, EtcdProcess
from store.pem import Authority
from store.streams import current


def test_both_sides_prove_who_they_are(tls: EtcdProcess, authority: Authority) -> None:
    async def scenario() -> None:
        store = tls.open_store(access=access_with(authority))
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("a", 1))
        await current(events, "a", node)
        await store.renew("a")
        await store.release("a")
        await current(events, "a", None)
        await store.close()

    run_scenario(scenario)


def test_who_is_not_let_in(tls: EtcdProcess, authority: Authority, tmp_path: Path) -> None:
    foreign = Authority(tmp_path)
    foreign.sign("client")
    cases = {
        StoreAccess(tls_ca=authority.ca): "--tls-cert",
        replace(access_with(foreign), tls_ca=authority.ca): "--tls-cert",
        replace(access_with(authority), tls_ca=foreign.ca): "--tls-ca",
        replace(access_with(authority), tls_ca=None): "--tls-ca",
    }

    async def scenario() -> None:
        for access, to_look_at in cases.items():
            store = tls.open_store(access=access)
            with pytest.raises(StoreAway, match=to_look_at):
                await store.get_network()
            assert isinstance(await anext(store.watch()), Away)
            await store.close()

    run_scenario(scenario)


def test_plain_http_at_a_tls_port(tls: EtcdProcess) -> None:
    async def scenario() -> None:
        url = tls.url().replace("https:", "http:")
        store = open_etcd(url, StoreAccess(), QUICK)
        with pytest.raises(StoreAway, match="does it want https"):
            await store.get_network()
        await store.close()

    run_scenario(scenario)
