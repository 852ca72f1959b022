"""What systemd is told, and that nothing happens where there is none."""

import os
import socket
from pathlib import Path

import pytest

from podway.kernel.systemd import NOTIFY_SOCKET, WATCHDOG_USEC, notify, watchdog_interval_s


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    name = f"@podway-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv(NOTIFY_SOCKET, name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1) if abstract else name)
        systemd.settimeout(20)
        assert notify("READY=1", "STATUS=up")
        assert systemd.recv(100) == b"READY=1\nSTATUS=up"
    assert not notify("STOPPING=1")


@pytest.mark.parametrize("value", ["", "relative", "vsock:2:1234"])
def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NOTIFY_SOCKET, value)
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("value", "interval_s"),
    [("3000000", 1.5), ("", None), ("0", None), ("-1", None), ("soon", None)],
)
def test_watchdog(monkeypatch: pytest.MonkeyPatch, value: str, interval_s: float | None) -> None:
    monkeypatch.setenv(WATCHDOG_USEC, value)
    assert watchdog_interval_s() == interval_s
