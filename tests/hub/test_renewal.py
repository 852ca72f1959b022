"""Certificates and authorities that are replaced while hub and nodes run."""

import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.clients import claim, next_event
from hub.hub_process import RunningHub, run_scenario, running_hub
from hub.tls_clients import files, files_in, open_tls
from podway.store.protocol import Away, Back, Snapshot, StoreEvent
from podway.store.refusals import Code

NAMES = ("ca.crt", "hub.crt", "hub.key", "a.crt", "a.key")


def put(source: Path, directory: Path, *names: str) -> None:
    """Put the files *names* of *source* into *directory*, in place of what is there."""
    for name in names:
        shutil.copy(source / name, directory)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log says of files: how loud."""
    return [record.levelname for record in caplog.records if record.name == "podway.store"]


async def cut_off(hub: RunningHub, events: AsyncIterator[StoreEvent]) -> None:
    """Have the client that reads *events* lose its connection, and make another."""
    for session in tuple(hub.server.sessions):
        session.end(Code.STOPPING, "a test")
    await next_event(events, Away)
    await next_event(events, Back)


def test_a_renewed_certificate_is_used_without_a_restart(pem: Path, tmp_path: Path) -> None:
    put(pem / "foreign", tmp_path, "a.crt", "a.key")
    put(pem / "ours", tmp_path, "ca.crt")

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            store = open_tls(hub, files_in(tmp_path, "a"))
            events = store.watch()
            assert "refused our certificate" in (await next_event(events, Away)).reason
            put(pem / "ours", tmp_path, "a.crt", "a.key")
            event = await anext(events)
            while not isinstance(event, Snapshot):
                event = await anext(events)
            await store.close()

    run_scenario(scenario)


def test_a_hub_serves_with_what_its_files_say_now(pem: Path, tmp_path: Path) -> None:
    """Another authority with all that it has signed: who is connected stays, others are refused."""
    put(pem / "ours", tmp_path, *NAMES)

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files_in(tmp_path, "hub")) as hub:
            before = open_tls(hub, files(pem, "a"))
            await before.claim(claim("a", 1))
            put(pem / "foreign", tmp_path, *NAMES)
            late = open_tls(hub, files(pem, "a"))
            assert "not to be trusted" in (await next_event(late.watch(), Away)).reason
            unknown = open_tls(hub, files(pem, "a", ca="foreign"))
            assert "refused our certificate" in (await next_event(unknown.watch(), Away)).reason
            theirs = open_tls(hub, files(pem, "a", ca="foreign", cert="foreign"))
            await theirs.renew("a")
            await before.renew("a")
            for store in (before, late, unknown, theirs):
                await store.close()

    run_scenario(scenario)


def test_a_hub_with_half_a_certificate_serves_on(
    pem: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(pem / "ours", tmp_path, *NAMES)

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files_in(tmp_path, "hub")) as hub:
            for spoilt in ("hub.key", "ca.crt"):
                (tmp_path / spoilt).write_bytes(b"")
                store = open_tls(hub, files(pem, "a"))
                await store.claim(claim("a", 1))
                await store.close()
            put(pem / "ours", tmp_path, *NAMES)
            store = open_tls(hub, files(pem, "a"))
            await store.renew("a")
            await store.close()

    with caplog.at_level(logging.INFO, "podway.store"):
        run_scenario(scenario)
    assert told(caplog) == ["WARNING", "INFO"]


def test_a_node_with_half_a_certificate_comes_again(
    pem: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(pem / "ours", tmp_path, *NAMES)

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            store = open_tls(hub, files_in(tmp_path, "a"))
            events = store.watch()
            await next_event(events, Snapshot)
            for spoilt in ("a.key", "ca.crt"):
                (tmp_path / spoilt).unlink()
                await cut_off(hub, events)
            await store.close()

    run_scenario(scenario)
    assert told(caplog) == ["WARNING"]


def test_a_node_trusts_no_authority_that_was_taken_out(pem: Path, tmp_path: Path) -> None:
    put(pem / "ours", tmp_path, *NAMES)

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            store = open_tls(hub, files_in(tmp_path, "a"))
            events = store.watch()
            await next_event(events, Snapshot)
            put(pem / "foreign", tmp_path, "ca.crt")
            hub.server.sessions.copy().pop().end(Code.STOPPING, "a test")
            assert "the hub ended" in (await next_event(events, Away)).reason
            assert "not to be trusted" in (await next_event(events, Away)).reason
            await store.close()

    run_scenario(scenario)
