"""etcd over TLS, with users: who is let in, who is not and why, and what is never to be seen."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hub.clients import PATIENCE_S, claim, next_event
from hub.hub_process import run_scenario
from podway.errors import ConfigError
from podway.store.access import StoreAccess
from podway.store.engines import open_store
from podway.store.etcd_open import open_etcd
from podway.store.protocol import Away, Snapshot, StoreAway, StoreError, StoreEvent
from podway.store.refusals import NotAllowed
from store.etcd_process import QUICK, EtcdProcess
from store.pem import Authority
from store.test_contract import NET, current

PASSWORD = "correct-horse-battery-staple"
PEER = "10.9.52.0-24"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("pem"))
    for name in ("server", "client"):
        authority.sign(name)
    authority.sign("nameless", common_name=False)
    return authority


def access_with(authority: Authority, name: str = "client") -> StoreAccess:
    directory = authority.directory
    return StoreAccess(
        tls_ca=authority.ca, tls_cert=directory / f"{name}.crt", tls_key=directory / f"{name}.key"
    )


def tls_process(authority: Authority) -> EtcdProcess:
    """Return an etcd, yet to be started, that wants a certificate from everybody."""
    directory = authority.directory
    etcd = EtcdProcess(
        scheme="https",
        arguments=(
            *("--cert-file", str(directory / "server.crt")),
            *("--key-file", str(directory / "server.key")),
            *("--trusted-ca-file", str(authority.ca), "--client-cert-auth"),
        ),
    )
    etcd.ctl_arguments = [
        f"--cacert={authority.ca}",
        f"--cert={directory / 'client.crt'}",
        f"--key={directory / 'client.key'}",
    ]
    return etcd


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Iterator[EtcdProcess]:
    """An etcd that wants a certificate from everybody."""
    with tls_process(authority) as etcd:
        etcd.put("/coreos.com/network/config", NET)
        yield etcd


def add_users(etcd: EtcdProcess) -> None:
    """Give *etcd* users: root, and podway, which may use its own prefix and no other."""
    etcd.put("/coreos.com/network/config", NET)
    etcd.ctl("user", "add", f"root:{PASSWORD}")
    etcd.ctl("user", "add", f"podway:{PASSWORD}")
    etcd.ctl("role", "add", "nodes")
    etcd.ctl("role", "grant-permission", "--prefix", "nodes", "readwrite", "/coreos.com/network/")
    etcd.ctl("user", "grant-role", "podway", "nodes")
    etcd.ctl("auth", "enable")


@pytest.fixture
def users(tmp_path: Path) -> Iterator[EtcdProcess]:
    """An etcd with users: root, and podway, which may use its own prefix and no other."""
    with EtcdProcess(arguments=("--auth-token-ttl", "1")) as etcd:
        add_users(etcd)
        etcd.ctl_arguments = [f"--user=root:{PASSWORD}"]
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        (tmp_path / "password").chmod(0o600)
        yield etcd


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


def test_a_renewed_certificate_is_used_without_a_restart(
    tls: EtcdProcess, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path / "foreign")
    mine = tmp_path / "mine"
    mine.mkdir()
    for source in foreign.sign("client"):
        shutil.copy(source, mine)

    async def scenario() -> None:
        access = StoreAccess(
            tls_ca=authority.ca, tls_cert=mine / "client.crt", tls_key=mine / "client.key"
        )
        store = tls.open_store(access=access)
        with pytest.raises(StoreAway):
            await store.get_network()
        for name in ("client.crt", "client.key"):
            shutil.copy(authority.directory / name, mine)
        assert await store.get_network() is not None
        await store.close()

    run_scenario(scenario)


def test_certificates_that_are_just_being_replaced(
    tls: EtcdProcess, authority: Authority, tmp_path: Path
) -> None:
    """A certificate comes before its key, or not yet at all: what was there before is used on."""
    names = ("client.crt", "client.key")
    for name in names:
        shutil.copy(authority.directory / name, tmp_path)
    other = Authority(tmp_path / "other").sign("client")

    async def scenario() -> None:
        access = StoreAccess(
            tls_ca=authority.ca, tls_cert=tmp_path / "client.crt", tls_key=tmp_path / "client.key"
        )
        store = tls.open_store(access=access)
        events = store.watch()
        await next_event(events, Snapshot)
        shutil.copy(other[0], tmp_path / "client.crt")
        await store.claim(claim("a", 1))
        (tmp_path / "client.key").unlink()
        await store.renew("a")
        shutil.copy(other[1], tmp_path / "client.key")
        with pytest.raises(StoreAway, match="--tls-cert"):
            await store.renew("a")
        for name in names:
            shutil.copy(authority.directory / name, tmp_path)
        await store.release("a")
        await store.close()

    run_scenario(scenario)


def test_what_goes_from_a_lost_address_is_given_up_with_new_certificates_too(
    tls: EtcdProcess, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch was opened with the certificate that was there before."""
    for name in ("client.crt", "client.key"):
        shutil.copy(authority.directory / name, tmp_path)

    async def scenario() -> None:
        access = StoreAccess(
            tls_ca=authority.ca, tls_cert=tmp_path / "client.crt", tls_key=tmp_path / "client.key"
        )
        calm = replace(QUICK, heartbeat_s=3600.0)
        store = tls.open_store(access=access, options=calm)
        events = store.watch()
        await next_event(events, Snapshot)
        await store.claim(claim("a", 1))  # live: the watch stands
        await told_of(events, "a")
        for source in Authority(tmp_path / "other").sign("client"):
            shutil.copy(source, tmp_path)
        with pytest.raises(StoreAway, match="--tls-cert"):
            await store.get_network()
        monkeypatch.setattr("podway.store.http_client.is_stranded", lambda _: True)
        store.recheck()
        await away(events)
        await store.close()

    run_scenario(scenario)


async def told_of(events: AsyncIterator[StoreEvent], name: str) -> None:
    """Return when there was news of the node called *name*."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if name in {change.name for change in getattr(event, "changes", ())}:
                return


async def away(events: AsyncIterator[StoreEvent]) -> None:
    """Return when the store is away; what it had told before may come first."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if isinstance(event, Away):
                return


def test_a_user_logs_in_and_stays_so(users: EtcdProcess, tmp_path: Path) -> None:
    """Its token ends with every restart of etcd, and when users change; it logs in again."""

    async def scenario() -> None:
        access = StoreAccess(store_user="podway", store_password_file=tmp_path / "password")
        store = users.open_store(access=access)
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
    users: EtcdProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is asked that would notice that the token has ended."""

    async def scenario() -> None:
        access = StoreAccess(store_user="podway", store_password_file=tmp_path / "password")
        store = users.open_store(access=access)
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


def test_users_that_may_not(users: EtcdProcess, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    wrong.chmod(0o600)

    async def scenario() -> None:
        password = tmp_path / "password"
        guessing = users.open_store(
            access=StoreAccess(store_user="podway", store_password_file=wrong)
        )
        with pytest.raises(NotAllowed):
            await guessing.get_network()
        assert isinstance(await anext(guessing.watch()), Away)
        nobody = users.open_store()
        with pytest.raises(StoreError):
            await nobody.get_network()
        elsewhere = users.open_store(
            "/other", access=StoreAccess(store_user="podway", store_password_file=password)
        )
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
    users: EtcdProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        access = StoreAccess(store_user="podway", store_password_file=tmp_path / "password")
        store = users.open_store("/other", access=access)
        shown = [repr(access), repr(store.__dict__), repr(store._client.__dict__)]
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
