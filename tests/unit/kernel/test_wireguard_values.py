"""What operations become for a WireGuard device, and what a device is read as."""

from base64 import b64encode
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from podway.diff.operations import Operation, Verb
from podway.kernel.wireguard_endpoints import pack_endpoint
from podway.kernel.wireguard_keys import public_key
from podway.kernel.wireguard_text import render_set
from podway.kernel.wireguard_values import compute_fields, parse_device
from podway.model.kernel import AllowedIp, KernelObject, WireguardDevice, WireguardPeer
from podway.model.secret import Secret

KEY, PEER = bytes(range(32)), bytes(range(1, 33))
PSK = bytes(range(2, 34))
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
