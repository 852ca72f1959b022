"""``podway hub`` as a process: start, configuration, signals, health, and what it refuses."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from hub.clients import claim, next_event, patiently
from hub.hub_process import HOST_GW, HubProcess, run_scenario
from podway.store.protocol import Away, Snapshot


def hub_command(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run ``podway hub`` to its end; return exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "podway.hub", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=env,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_sigterm_is_a_clean_end() -> None:
    async def scenario() -> None:
        with HubProcess() as hub:
            store = hub.open_store()
            events = store.watch()
            await next_event(events, Snapshot)
            away = asyncio.create_task(next_event(events, Away))
            assert await asyncio.to_thread(hub.stop) == 0
            assert "the hub is stopping" in (await away).reason
            await store.close()
            assert not (hub.directory / "hub.sock").exists()
            assert not list(hub.data_dir.glob("*-wal"))  # folded in

    run_scenario(scenario)


def test_sighup_is_ignored() -> None:
    async def scenario() -> None:
        with HubProcess() as hub:
            store = hub.open_store()
            await store.claim(claim("a", 1))
            os.kill(hub.pid, signal.SIGHUP)
            await store.renew("a")
            await store.close()

    run_scenario(scenario)


def test_a_second_hub_is_refused_and_harms_nothing() -> None:
    async def scenario() -> None:
        with HubProcess() as hub:
            other = f"unix:{hub.directory / 'other.sock'}"
            data_dir = str(hub.data_dir)
            code, _, errors = await asyncio.to_thread(
                hub_command, "--listen", other, "--data-dir", data_dir
            )
            assert (code, "locked" in errors) == (1, True)
            code, _, errors = await asyncio.to_thread(
                hub_command, "--listen", hub.url, "--data-dir", str(hub.directory / "new")
            )
            assert (code, "another hub" in errors) == (1, True)
            store = hub.open_store()
            await store.claim(claim("a", 1))
            await store.close()

    run_scenario(scenario)


def test_another_net_conf_is_reported_and_not_used() -> None:
    async def scenario() -> None:
        with HubProcess() as hub:
            store = hub.open_store()
            stored = await store.get_network()
            net_conf = hub.directory / "net-conf.json"
            hub.stop()

            net_conf.write_text(json.dumps(HOST_GW, indent=4))  # says the same
            hub.start()
            assert "differs" not in hub.log
            hub.stop()

            net_conf.write_text(json.dumps(HOST_GW | {"SubnetLen": 25}))
            hub.start()
            assert "differs" in hub.log
            assert await patiently(store.get_network) == stored
            await store.claim(claim("a", 1))
            hub.stop()

            hub.arguments += ["--replace"]
            with pytest.raises(AssertionError, match=r"10\.9\.1\.0/24 of node a"):
                hub.start()
            hub.arguments += ["--force"]
            hub.start()
            changed = await patiently(store.get_network)
            assert changed is not None
            assert json.loads(changed.text)["SubnetLen"] == 25
            await store.close()

    run_scenario(scenario)


def refused(directory: Path, arguments: list[str], words: str) -> int:
    """Return the exit code of a hub that cannot start with *arguments*, and says so in *words*."""
    defaults = ["--data-dir", str(directory / "data"), "--listen", f"unix:{directory / 'hub.sock'}"]
    code, _, errors = hub_command(*defaults, *arguments)
    assert words in errors
    assert "Traceback" not in errors
    return code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--listen", "tcp:127.0.0.1:0"], "--plaintext", id="tcp without keys"),
        pytest.param(
            ["--listen", "tcp:127.0.0.1:0", "--tls-ca", "/x"], "--tls-cert", id="half the keys"
        ),
        pytest.param(["--listen", "unix:relative"], "absolute", id="relative path"),
        pytest.param(["--http", "here"], "--http", id="no port"),
        pytest.param(["--heartbeat", "0"], "--heartbeat", id="no heartbeat"),
        pytest.param(["--max-clients", "0"], "--max-clients", id="no clients"),
        pytest.param(["--max-lag", "1"], "--max-lag", id="no lag"),
        pytest.param(
            ["--tls-ca", "/x", "--tls-cert", "/x", "--tls-key", "/x", "--plaintext"],
            "--plaintext",
            id="both",
        ),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert refused(tmp_path, arguments, words) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--net-conf", "/does/not/exist"], "--net-conf", id="no such net-conf"),
        pytest.param(["--data-dir", "/dev/null/x"], "--data-dir", id="no directory"),
        pytest.param(
            [
                "--listen",
                "tcp:127.0.0.1:0",
                "--tls-ca",
                "/x",
                "--tls-cert",
                "/x",
                "--tls-key",
                "/x",
            ],
            "tls-ca",
            id="no such keys",
        ),
    ],
)
def test_what_the_machine_does_not_have(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert refused(tmp_path, arguments, words) == 1


def test_a_wrong_net_conf_stops_the_start_and_stores_nothing(tmp_path: Path) -> None:
    net_conf = tmp_path / "net-conf.json"
    net_conf.write_text('{"Network": "10.9.0.0/16", "SubnetLen": 99}')
    where = ["--data-dir", str(tmp_path / "data"), "--listen", f"unix:{tmp_path / 'hub.sock'}"]
    code, _, errors = hub_command(*where, "--net-conf", str(net_conf))
    assert code == 1
    assert "SubnetLen = 99" in errors
    assert not (tmp_path / "hub.sock").exists()


def test_certs_needs_its_package_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    code, _, errors = hub_command("certs", str(tmp_path / "pem"), "--node", "a", env=env)
    assert code == 1
    assert "podway[certs]" in errors


def test_certs_lists_what_it_wrote(tmp_path: Path) -> None:
    code, output, _ = hub_command("certs", str(tmp_path / "pem"), "--node", "a")
    assert code == 0
    assert [Path(line).name for line in output.splitlines()] == [
        *("ca.crt", "ca.key", "hub.crt", "hub.key"),
        *("admin.crt", "admin.key", "a.crt", "a.key"),
    ]


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        with HubProcess() as hub:
            assert systemd.recv(4096).startswith(b"READY=1\nSTATUS=serving store ")
            assert [systemd.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            hub.stop()
            told = b""
            while told != b"STOPPING=1":
                told = systemd.recv(4096)


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_health_and_metrics() -> None:
    async def scenario() -> None:
        port = free_port()
        with HubProcess(net_conf=None, arguments=["--http", f"127.0.0.1:{port}"]) as hub:
            store = hub.open_store()
            base = f"http://127.0.0.1:{port}"
            await store.get_network()
            assert await asyncio.to_thread(fetch, f"{base}/healthz") == (200, "ok\n")
            code, text = await asyncio.to_thread(fetch, f"{base}/readyz")
            assert (code, "no network" in text) == (503, True)
            await store.put_network(json.dumps(HOST_GW))
            assert (await asyncio.to_thread(fetch, f"{base}/readyz"))[0] == 200
            await store.claim(claim("a", 1))
            code, text = await asyncio.to_thread(fetch, f"{base}/metrics")
            assert code == 200
            for line in (
                "podway_hub_nodes 1.0",
                "podway_hub_clients 1.0",
                'podway_hub_requests_total{result="ok",type="claim"} 1.0',
                "podway_hub_storage_failing 0.0",
            ):
                assert line in text.splitlines()
            assert (await asyncio.to_thread(fetch, f"{base}/nothing"))[0] == 404
            await store.close()

    run_scenario(scenario)


def test_what_a_hub_without_tls_and_http_does_not_import() -> None:
    """It should be up in a moment, and small."""
    heavy = {"cryptography", "rich", "prometheus_client", "argparse_manpage"}
    program = "import sys, podway.hub.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not heavy & set(done.stdout.decode().split())
