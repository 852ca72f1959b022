"""Certificates, authorities and passwords that are replaced while an etcd's client runs."""

import logging
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from hub.clients import claim, next_event
from hub.hub_process import run_scenario
from podway.store.access import StoreAccess
from podway.store.protocol import Snapshot, StoreAway
from podway.store.refusals import NotAllowed
from store.etcd_access import PASSWORD, access_with
from store.etcd_process import QUICK, EtcdProcess
from store.pem import Authority
from store.streams import away, told_of


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


def test_an_authority_that_was_taken_out_is_trusted_no_more(
    tls: EtcdProcess, authority: Authority, tmp_path: Path
) -> None:
    """Not only from the next start on: who replaces an authority may have lost its key."""
    theirs = Authority(tmp_path / "foreign", "the next one").ca.read_bytes()
    ours = authority.ca.read_bytes()
    path = tmp_path / "ca.crt"
    path.write_bytes(ours)

    async def scenario() -> None:
        store = tls.open_store(access=replace(access_with(authority), tls_ca=path))
        assert await store.get_network() is not None
        path.write_bytes(theirs)
        with pytest.raises(StoreAway, match="--tls-ca"):
            await store.get_network()
        path.write_bytes(theirs + ours)
        assert await store.get_network() is not None
        path.write_bytes(b"no PEM")
        assert await store.get_network() is not None
        await store.close()

    run_scenario(scenario)


def test_a_password_is_changed_while_it_is_used(users: EtcdProcess, account: StoreAccess) -> None:
    """First in etcd, then in the file: in between nobody is let in, then without a restart."""

    async def scenario() -> None:
        store = users.open_store(access=account)
        events = store.watch()
        await next_event(events, Snapshot)
        await store.claim(claim("a", 1))
        change_password(users, "another")
        with pytest.raises(NotAllowed):
            await store.get_network()
        write_password(account, "another")
        await store.get_network()
        users.put("/coreos.com/network/subnets/10.9.52.0-24", '{"PublicIP":"192.168.64.3"}')
        await told_of(events, "10.9.52.0-24")
        await store.close()

    run_scenario(scenario)


def test_a_password_file_that_is_just_being_written(
    users: EtcdProcess, account: StoreAccess, caplog: pytest.LogCaptureFixture
) -> None:
    """The password that was there before is used on, and that is said once."""

    async def scenario() -> None:
        store = users.open_store(access=account)
        await store.claim(claim("a", 1))
        for text in ("", "\n", "", PASSWORD):
            write_password(account, text)
            change_password(users, PASSWORD)  # to the same: its logins end
            await store.get_network()
        await store.close()

    with caplog.at_level(logging.DEBUG, "podway"):
        run_scenario(scenario)
    told = [record.levelname for record in caplog.records if record.name == "podway.store"]
    assert told == ["WARNING", "INFO"]
    assert PASSWORD not in str([record.__dict__ for record in caplog.records])


def change_password(etcd: EtcdProcess, password: str) -> None:
    """Have *etcd* know the user podway by another *password*."""
    etcd.ctl("user", "passwd", "podway", "--interactive=false", stdin=f"{password}\n")


def write_password(account: StoreAccess, text: str) -> None:
    """Put *text* into the file of *account*."""
    assert account.store_password_file is not None
    account.store_password_file.write_text(text)
