"""WireGuard's keys: made once, kept for root alone, and multiplied as RFC 7748 does."""

import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from podway.errors import ConfigError
from podway.kernel.wireguard_keys import WireguardKey, public_key, x25519

# RFC 7748, section 5.2 and 6.1
VECTORS = [
    pytest.param(
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        id="first",
    ),
    pytest.param(
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        id="second, with a bit set that must be ignored",
    ),
    pytest.param(
        "0900000000000000000000000000000000000000000000000000000000000000",
        "0900000000000000000000000000000000000000000000000000000000000000",
        "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        id="the iterated one, once",
    ),
]


@pytest.mark.parametrize(("scalar", "point", "product"), VECTORS)
def test_x25519(scalar: str, point: str, product: str) -> None:
    assert x25519(bytes.fromhex(scalar), bytes.fromhex(point)).hex() == product


def test_x25519_a_thousand_times() -> None:
    k = u = (9).to_bytes(32, "little")
    for _ in range(1000):
        k, u = x25519(k, u), k
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_public_key_is_what_wg_says() -> None:
    for _ in range(5):
        private = subprocess.run(["wg", "genkey"], capture_output=True, check=True).stdout
        told = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, check=True)
        assert public_key(b64decode(private)) == told.stdout.decode().strip()


def test_a_key_is_made_once_and_for_root_alone(tmp_path: Path) -> None:
    key = WireguardKey(tmp_path / "new" / "wireguard.key")
    first = key.private()
    assert len(first) == 32
    assert WireguardKey(key.path).private() == first
    assert key.path.stat().st_mode & 0o777 == 0o400
    assert [each.name for each in key.path.parent.iterdir()] == ["wireguard.key"]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        pytest.param(b"", 0o400, id="empty"),
        pytest.param(b"not base64!", 0o400, id="no base64"),
        pytest.param(b64encode(bytes(31)), 0o400, id="31 bytes"),
        pytest.param(b64encode(bytes(32)), 0o440, id="others may read it"),
    ],
)
def test_a_key_file_that_is_none_is_refused_and_kept(
    tmp_path: Path, text: bytes, mode: int
) -> None:
    path = tmp_path / "wireguard.key"
    path.write_bytes(text)
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        WireguardKey(path).private()
    assert caught.value.value == str(path)
    assert path.read_bytes() == text
    assert not text or text.decode() not in str(caught.value)
