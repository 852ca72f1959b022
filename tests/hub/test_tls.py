"""Mutual TLS: who has no certificate, a foreign one or somebody else's is refused and told why."""

import asyncio
import ssl
from pathlib import Path

import pytest

from hub.clients import claim, next_event, patiently, until
from hub.hub_process import QUICK, RunningHub, run_scenario, running_hub
from hub.tls_clients import files, open_tls
from podway.errors import ConfigError
from podway.hub import tls
from podway.hub.limits import Limits
from podway.store.engines import open_hub
from podway.store.frames import (
    Hello,
    Watch,
)
from podway.store.protocol import Away, Delta, Snapshot, StoreAway
from podway.store.refusals import NotAllowed
from podway.store.tls import TlsFiles, client_context
from podway.store.wire import encode_frame


def port_of(hub: RunningHub) -> int:
    return int(hub.tcp_url.rpartition(":")[2])


def test_a_node_does_its_own_and_an_admin_everything(pem: Path) -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            node, admin = open_tls(hub, files(pem, "a")), open_tls(hub, files(pem, "admin"))
            events = node.watch()
            await next_event(events, Snapshot)
            await node.claim(claim("a", 1))
            await next_event(events, Delta)
            await node.renew("a")
            await admin.claim(claim("b", 2))
            assert len(await node.list_nodes()) == 2
            with pytest.raises(
                NotAllowed, match="certificate of node a may not claim for node 'b'"
            ):
                await node.claim(claim("b", 2))
            for forbidden in (
                node.renew("b"),
                node.release("b"),
                node.put_network("{}"),
                node.put("note", "a", b""),
                node.delete("node", "a"),
                node.unreserve("a"),
            ):
                with pytest.raises(NotAllowed):
                    await forbidden
            await admin.release("b")
            await node.release("a")
            await node.close()
            await admin.close()

    run_scenario(scenario)


def test_the_hub_speaks_tls_1_3_only(pem: Path) -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            context = ssl.create_default_context(cafile=pem / "ours" / "ca.crt")
            context.load_cert_chain(pem / "ours" / "a.crt", pem / "ours" / "a.key")
            context.check_hostname = False
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(hub), ssl=context)
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            writer.close()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(OSError):  # noqa: PT011  (an alert or a reset)
                await asyncio.open_connection("127.0.0.1", port_of(hub), ssl=context)

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("client", "words"),
    [
        pytest.param(("a", "ours", "foreign"), "refused our certificate", id="foreign certificate"),
        pytest.param(("a", "foreign", "ours"), "not to be trusted", id="foreign authority"),
        pytest.param(("hub", "ours", "ours"), "refused our certificate", id="not for clients"),
    ],
)
def test_wrong_certificates(pem: Path, client: tuple[str, str, str], words: str) -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            name, ca, cert = client
            store = open_tls(hub, files(pem, name, ca=ca, cert=cert))
            away = await next_event(store.watch(), Away)
            assert words in away.reason
            with pytest.raises(StoreAway, match=words):
                await store.renew("a")
            await store.close()

    run_scenario(scenario)


def test_a_node_cannot_pose_as_the_hub(pem: Path) -> None:
    """Its certificate is of the right authority, but neither for servers nor in the hub's name."""

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "b")) as hub:
            store = open_tls(hub, files(pem, "a"))
            away = await next_event(store.watch(), Away)
            assert "not to be trusted" in away.reason
            await store.close()

    run_scenario(scenario)


def test_no_certificate_at_all(pem: Path) -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            context = ssl.create_default_context(cafile=pem / "ours" / "ca.crt")
            context.check_hostname = False
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(hub), ssl=context)
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                await reader.read(1)
            writer.close()
            assert not hub.server.sessions

    run_scenario(scenario)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(b"\xff" * 70000, id="noise"),
        pytest.param(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", id="broken hello"),
    ],
)
def test_garbage_in_place_of_a_handshake(pem: Path, data: bytes) -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(hub))
            writer.write(data)
            async with asyncio.timeout(20):
                answer = await reader.read()
            assert answer == b"" or answer.startswith(b"\x15\x03")  # an alert
            writer.close()
            await until(lambda: hub.server.drops["tls"] == 1)
            assert not hub.server.sessions

    run_scenario(scenario)


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01"], ids=["silent", "three bytes"])
def test_a_handshake_that_never_ends(
    pem: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.2)

    async def scenario() -> None:
        async with running_hub(
            tcp=True, tls=files(pem, "hub"), limits=Limits(clients=1, linger_s=0.1)
        ) as hub:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(hub))
            writer.write(data)
            async with asyncio.timeout(20):
                assert await reader.read() == b""
            writer.close()
            store = open_tls(hub, files(pem, "a"))  # its place is free again
            await patiently(store.list_nodes)
            await store.close()

    run_scenario(scenario)


def test_much_data_goes_both_ways(pem: Path) -> None:
    """More than any buffer holds: records, flow control and their order."""

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            store = open_tls(hub, files(pem, "admin"))
            values = {f"n{n}": bytes([n]) * 250_000 for n in range(20)}
            await asyncio.gather(*(store.put("note", name, v) for name, v in values.items()))
            answers = await asyncio.gather(*(store.get("note", name) for name in values))
            assert [answer and answer.value for answer in answers] == list(values.values())
            await store.close()

    run_scenario(scenario)


def test_a_tls_watcher_that_reads_nothing_is_dropped(pem: Path) -> None:
    async def scenario() -> None:
        limits = Limits(lag_bytes=1 << 16, linger_s=0.2)
        async with running_hub(tcp=True, tls=files(pem, "hub"), limits=limits) as hub:
            context = client_context(files(pem, "a"))
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port_of(hub), ssl=context, server_hostname="podway-hub", limit=1024
            )
            writer.write(encode_frame(Hello(1)) + encode_frame(Watch(id=1)))
            await until(lambda: hub.server.watchers == 1)
            admin = hub.open_store()
            text = '{"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}, "Note": "%s"}'
            number = 0
            while not hub.server.drops["slow"]:
                await admin.put_network(text % (str(number) * 30_000))
                number += 1
            await admin.close()
            writer.close()

    run_scenario(scenario)


def test_plaintext_to_a_tls_port(pem: Path) -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files(pem, "hub")) as hub:
            store = open_hub(hub.tcp_url, plaintext=True, options=QUICK)
            with pytest.raises(StoreAway):
                await store.renew("a")
            await store.close()
            assert not hub.server.sessions

    run_scenario(scenario)


def test_tls_to_a_plaintext_port(pem: Path) -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True) as hub:
            store = open_tls(hub, files(pem, "a"))
            with pytest.raises(StoreAway, match="does the hub serve TLS"):
                await store.renew("a")
            await store.close()

    run_scenario(scenario)


def test_plaintext_trusts_everybody() -> None:
    async def scenario() -> None:
        async with running_hub(tcp=True) as hub:
            store = open_hub(hub.tcp_url, plaintext=True, options=QUICK)
            await store.claim(claim("a", 1))
            await store.put("note", "n", b"v")
            await store.close()

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        pytest.param("none", "tls-cert", id="file is missing"),
        pytest.param("torn", "tls-cert", id="key of another certificate"),
        pytest.param("noise", "tls-ca", id="authority is noise"),
    ],
)
def test_files_that_cannot_be_used(pem: Path, tmp_path: Path, name: str, field: str) -> None:
    ours = pem / "ours"
    noise = tmp_path / "noise.pem"
    noise.write_text("no PEM")
    ca = noise if name == "noise" else ours / "ca.crt"
    cert = tmp_path / "none.crt" if name == "none" else ours / "a.crt"
    key = ours / "b.key" if name == "torn" else ours / "a.key"
    with pytest.raises(ConfigError) as caught:
        open_hub("tcp:127.0.0.1:1", tls=TlsFiles(ca=ca, cert=cert, key=key))
    assert caught.value.field == field
