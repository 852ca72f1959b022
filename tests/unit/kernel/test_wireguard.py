"""WireGuard without a device: keys, the text protocol, and what operations become."""

import subprocess
from base64 import b64decode, b64encode
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.diff.operations import Operation, Verb
from podway.errors import ConfigError
from podway.kernel.wireguard_endpoints import pack_endpoint, unpack_endpoint
from podway.kernel.wireguard_keys import WireguardKey, public_key, x25519
from podway.kernel.wireguard_text import parse_errno, parse_get, render_set
from podway.kernel.wireguard_values import compute_fields, parse_device
from podway.model.kernel import AllowedIp, KernelObject, WireguardDevice, WireguardPeer
from podway.model.secret import Secret
from podway.netlink.constants import (
    WGPEER_F_REMOVE_ME,
    WGPEER_F_REPLACE_ALLOWEDIPS,
    WGPEER_F_UPDATE_ONLY,
)

# --- keys ---------------------------------------------------------------------------------------

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


# --- text ---------------------------------------------------------------------------------------

KEY, PEER = bytes(range(32)), bytes(range(1, 33))
PSK = bytes(range(2, 34))

SET = f"""set=1
private_key={KEY.hex()}
listen_port=51820
public_key={PEER.hex()}
remove=true
public_key={PEER.hex()}
update_only=true
replace_allowed_ips=true
preshared_key={PSK.hex()}
endpoint=[2001:db8::1]:51821
persistent_keepalive_interval=25
allowed_ip=10.244.2.0/24
allowed_ip=fd00:10:244:2::/64

"""
ENDPOINT = pack_endpoint(ip_address("2001:db8::1"), 51821)
ALLOWED = {
    "allowedip": [
        {"family": 2, "ipaddr": ip_address("10.244.2.0").packed, "cidr_mask": 24},
        {"family": 10, "ipaddr": ip_address("fd00:10:244:2::").packed, "cidr_mask": 64},
    ]
}


def test_set_is_what_the_protocol_says() -> None:
    peer = {
        "public_key": PEER,
        "flags": WGPEER_F_UPDATE_ONLY | WGPEER_F_REPLACE_ALLOWEDIPS,
        "preshared_key": PSK,
        "endpoint": ENDPOINT,
        "persistent_keepalive_interval": 25,
        "allowedips": ALLOWED,
    }
    peers = [{"public_key": PEER, "flags": WGPEER_F_REMOVE_ME}, peer]
    fields = {"private_key": KEY, "listen_port": 51820, "peers": {"peer": peers}}
    assert render_set(fields).decode() == SET


def test_get_is_read() -> None:
    text = f"""private_key={KEY.hex()}
listen_port=51820
public_key={PEER.hex()}
preshared_key={PSK.hex()}
protocol_version=1
endpoint=[2001:db8::1]:51821
last_handshake_time_sec=17
last_handshake_time_nsec=5
tx_bytes=1
rx_bytes=2
persistent_keepalive_interval=25
allowed_ip=10.244.2.0/24
allowed_ip=fd00:10:244:2::/64
public_key={KEY.hex()}
of_a_newer_version=x
errno=0

"""
    first = {
        "public_key": PEER,
        "preshared_key": PSK,
        "endpoint": ENDPOINT,
        "last_handshake_time": {"sec": 17},
        "persistent_keepalive_interval": 25,
        "allowedips": ALLOWED,
    }
    second = {"public_key": KEY, "allowedips": {"allowedip": []}}
    assert parse_get(text.encode()) == {
        "private_key": KEY,
        "listen_port": 51820,
        "peers": {"peer": [first, second]},
    }


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        pytest.param(b"errno=0\n\n", 0, id="success"),
        pytest.param(b"errno=-22\n\n", 22, id="a Go number"),
        pytest.param(b"listen_port=1\nerrno=98\n\n", 98, id="behind other lines"),
    ],
)
def test_errno(answer: bytes, number: int) -> None:
    assert parse_errno(answer) == number


@pytest.mark.parametrize("answer", [b"", b"\n\n", b"listen_port=1\n", b"errno=x\n\n"])
def test_an_answer_without_errno_is_none(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_errno(answer)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_endpoints_go_there_and_back(address: Any, port: int) -> None:
    packed = pack_endpoint(address, port)
    assert len(packed) == (16 if address.version == 4 else 28)
    assert unpack_endpoint(packed) == (address, port)


# --- operations ---------------------------------------------------------------------------------

A, B = b64encode(PEER).decode(), b64encode(PSK).decode()
ONE, TWO = ip_network("10.244.2.0/24"), ip_network("10.244.3.0/24")


def peer_of(public: str, **fields: Any) -> WireguardPeer:
    usual = {"endpoint": ip_address("192.0.2.2"), "port": 51820}
    return WireguardPeer(dev="wg", public_key=public, **{**usual, **fields})


def create(item: KernelObject) -> Operation:
    return Operation(Verb.CREATE, item.key, desired=item)


def delete(item: KernelObject) -> Operation:
    return Operation(Verb.DELETE, item.key, observed=item)


def device_with(*prefixes: Any, public: bytes = PEER) -> dict[str, Any]:
    allowed = [
        {"family": 2, "ipaddr": prefix.network_address.packed, "cidr_mask": prefix.prefixlen}
        for prefix in prefixes
    ]
    return {"peers": {"peer": [{"public_key": public, "allowedips": {"allowedip": allowed}}]}}


def computed(now: dict[str, Any], *operations: Operation) -> list[str]:
    """Return what *operations* say in lines, without the first."""
    fields = compute_fields(operations, now, lambda _public: KEY)
    return render_set(fields).decode().strip().splitlines()[1:]


def test_a_device_gets_its_key() -> None:
    device = WireguardDevice(dev="wg", public_key=public_key(KEY), listen_port=7)
    assert computed({}, create(device)) == [f"private_key={KEY.hex()}", "listen_port=7"]


def test_a_peer_says_all_of_itself_and_nothing_of_its_prefixes() -> None:
    assert computed({}, create(peer_of(A, psk=Secret(B), keepalive_s=9))) == [
        f"public_key={PEER.hex()}",
        f"preshared_key={PSK.hex()}",
        "endpoint=192.0.2.2:51820",
        "persistent_keepalive_interval=9",
    ]
    assert f"preshared_key={bytes(32).hex()}" in computed({}, create(peer_of(A)))


def test_a_prefix_is_added_to_a_peer_that_is_there() -> None:
    added = [f"public_key={PEER.hex()}", "update_only=true", f"allowed_ip={ONE}"]
    assert computed({}, create(AllowedIp("wg", ONE, A))) == added


def test_a_prefix_that_goes_leaves_the_others() -> None:
    kept = [f"public_key={PEER.hex()}", "update_only=true", "replace_allowed_ips=true"]
    lines = computed(device_with(ONE, TWO), delete(AllowedIp("wg", ONE, A)))
    assert lines == [*kept, f"allowed_ip={TWO}"]
    both = (delete(AllowedIp("wg", ONE, A)), delete(AllowedIp("wg", TWO, A)))
    assert computed(device_with(ONE, TWO), *both) == kept


def test_prefixes_of_a_peer_that_goes_need_no_word() -> None:
    gone = (delete(AllowedIp("wg", ONE, A)), delete(peer_of(A)))
    removed = [f"public_key={PEER.hex()}", "remove=true"]
    assert computed(device_with(ONE), *gone) == removed


def test_a_prefix_of_a_peer_that_went_by_itself_is_gone() -> None:
    assert computed({}, delete(AllowedIp("wg", ONE, A))) == []


def parsed(peer: dict[str, Any], *written: WireguardPeer, now_s: float = 1000.0) -> WireguardPeer:
    fields = {"public_key": KEY, "listen_port": 1, "peers": {"peer": [peer]}}
    state = parse_device("wg", fields, {each.key: each for each in written}, now_s)
    return next(item for item in state.values() if isinstance(item, WireguardPeer))


ELSEWHERE = pack_endpoint(ip_address("198.51.100.9"), 1024)


@pytest.mark.parametrize(
    ("handshake_s", "where"),
    [
        pytest.param(1000 - 179, "192.0.2.2", id="it is heard from there"),
        pytest.param(1000 - 180, "198.51.100.9", id="nothing is heard from there any more"),
        pytest.param(0, "198.51.100.9", id="nothing was ever heard"),
        pytest.param(2000, "198.51.100.9", id="the clock was set back"),
    ],
)
def test_a_peer_that_moved_by_itself_is_where_it_was_put(handshake_s: int, where: str) -> None:
    written = peer_of(A)
    said = {"public_key": PEER, "endpoint": ELSEWHERE, "last_handshake_time": {"sec": handshake_s}}
    found = parsed(said, written)
    assert str(found.endpoint) == where
    assert found.port == (1024 if where == "198.51.100.9" else 51820)


def test_what_was_written_is_what_is_read() -> None:
    objects: list[KernelObject] = [
        WireguardDevice(dev="wg", public_key=b64encode(KEY).decode(), listen_port=9),
        peer_of(A, psk=Secret(B), keepalive_s=7),
        peer_of(B, endpoint=ip_address("2001:db8::7")),
        AllowedIp("wg", ONE, A),
        AllowedIp("wg", ip_network("fd00::/64"), A),
        AllowedIp("wg", TWO, B),
    ]
    fields = compute_fields([create(item) for item in objects], {}, lambda _public: KEY)
    whole: dict[bytes, dict[str, Any]] = {}
    for entry in fields["peers"]["peer"]:
        peer = whole.setdefault(entry["public_key"], {"allowedips": {"allowedip": []}})
        allowed = (
            peer["allowedips"]["allowedip"] + entry.get("allowedips", ALLOWED_NONE)["allowedip"]
        )
        peer |= {**entry, "allowedips": {"allowedip": allowed}}
    device = {"public_key": KEY, "listen_port": 9, "peers": {"peer": list(whole.values())}}
    assert parse_device("wg", device, {}, 0.0) == {item.key: item for item in objects}


ALLOWED_NONE: dict[str, list[Any]] = {"allowedip": []}


def test_secrets_show_nowhere() -> None:
    peer = peer_of(A, psk=Secret("hunter2"))
    for shown in (repr(peer), str(peer), f"{peer.psk}", repr(create(peer))):
        assert "hunter2" not in shown
