"""Where a hub listens, as users write it."""

from pathlib import Path

import pytest

from podway.errors import ConfigError
from podway.store.address import HubAddress, TcpAddress, UnixAddress, parse_hub_address
from podway.store.engines import open_hub


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("unix:/run/hub.sock", UnixAddress(Path("/run/hub.sock")), id="unix"),
        pytest.param("tcp:10.0.0.1:80", TcpAddress("10.0.0.1", 80), id="IPv4"),
        pytest.param("tcp:hub.example:7472", TcpAddress("hub.example", 7472), id="name"),
        pytest.param("tcp:hub.example", TcpAddress("hub.example", 7472), id="usual port"),
        pytest.param("tcp:[fd00::1]:80", TcpAddress("fd00::1", 80), id="IPv6"),
        pytest.param("tcp:[fd00::1]", TcpAddress("fd00::1", 7472), id="IPv6, usual port"),
        pytest.param("tcp:127.0.0.1:0", TcpAddress("127.0.0.1", 0), id="any port"),
    ],
)
def test_addresses(text: str, address: HubAddress) -> None:
    assert parse_hub_address("store", text) == address
    assert parse_hub_address("store", str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix:relative",
        "unix:/" + "x" * 107,
        "tcp:",
        "tcp::7472",
        "tcp:host:",
        "tcp:host:x",
        "tcp:host:65536",
        "tcp:host:-1",
        "tcp:host:²",
        "tcp:fd00::1:80",
        "tcp:[fd00::1]80",
        "tcp:[fd00::1",
        "http://host",
        "/run/hub.sock",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_hub_address("store", text)
    assert caught.value.field == "store"


def test_tcp_needs_keys_or_a_word() -> None:
    with pytest.raises(ConfigError, match="--plaintext"):
        open_hub("tcp:10.0.0.1:7472")
    open_hub("tcp:10.0.0.1:7472", plaintext=True)
