"""WireGuard: from operations to a message's fields, and from a device's fields to objects. Pure.

In: operations on the objects of one device, in order, and what the device is now. Out: the fields
that carry them out, the same for the kernel and for a process in its place. Why it is hard: the
protocol replaces all prefixes of a peer or adds to them, and takes single ones away only on the
newest kernels; and a peer moves by itself, to where its packets come from, which is no drift.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from msgspec.structs import replace

from podway.diff.operations import Operation, Verb
from podway.kernel.wireguard_endpoints import pack_endpoint, unpack_endpoint
from podway.model.addresses import IPNetwork, family_of, interface_in
from podway.model.kernel import AllowedIp, KernelObject, Key, WireguardDevice, WireguardPeer
from podway.model.secret import Secret
from podway.netlink.constants import (
    WGPEER_F_REMOVE_ME,
    WGPEER_F_REPLACE_ALLOWEDIPS,
    WGPEER_F_UPDATE_ONLY,
)

# drivers/net/wireguard/messages.h, REJECT_AFTER_TIME: a session that is older carries nothing.
SESSION_S = 180
_NO_KEY = bytes(32)


def compute_fields(
    operations: Sequence[Operation], now: Mapping[str, Any], private: Callable[[str], bytes]
) -> dict[str, Any]:
    """Return what makes one device what *operations* say, in order.

    Args:
        operations: on the objects of one device.
        now: what it is, as it was read; only prefixes matter, and only when some are taken away.
        private: returns the private key of a public one.
    """
    fields: dict[str, Any] = {}
    peers: list[dict[str, Any]] = []
    removed = {str(op.key.parts[1]) for op in operations if _removes(op, "wgpeer")}
    lost = [op for op in operations if _removes(op, "allowedip")]
    peers.extend(_without(lost, removed, now))
    for operation in operations:
        match operation.desired:
            case WireguardDevice(public_key=public, listen_port=port):
                fields |= {"private_key": private(public), "listen_port": port}
            case WireguardPeer() as peer:
                peers.append(_peer_fields(peer))
            case AllowedIp() as allowed:
                peers.append(_allowed_fields(allowed.public_key, [allowed.prefix]))
            case _:
                if operation.key.kind == "wgpeer":
                    public_key = b64decode(str(operation.key.parts[1]))
                    peers.append({"public_key": public_key, "flags": WGPEER_F_REMOVE_ME})
    return {**fields, "peers": {"peer": peers}} if peers else fields


def _removes(operation: Operation, kind: str) -> bool:
    return operation.verb is Verb.DELETE and operation.key.kind == kind


def _without(
    lost: Sequence[Operation], removed: set[str], now: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what leaves peers all prefixes but the *lost* ones; *removed* peers go anyway."""
    gone: dict[str, set[str]] = {}
    for operation in lost:
        assert isinstance(operation.observed, AllowedIp)
        gone.setdefault(operation.observed.public_key, set()).add(str(operation.key.parts[1]))
    found = []
    for public_key, prefixes in gone.items():
        there = _prefixes(now, public_key)
        if public_key not in removed and there is not None:
            kept = [prefix for prefix in there if str(prefix) not in prefixes]
            entry = _allowed_fields(public_key, kept)
            found.append({**entry, "flags": entry["flags"] | WGPEER_F_REPLACE_ALLOWEDIPS})
    return found


def _prefixes(now: Mapping[str, Any], public_key: str) -> list[IPNetwork] | None:
    """Return the prefixes of a peer; None where there is no such peer."""
    wanted = b64decode(public_key)
    for peer in now.get("peers", {}).get("peer", ()):
        if peer["public_key"] == wanted:
            return [_parse_prefix(fields) for fields in _allowed_of(peer)]
    return None


def _peer_fields(peer: WireguardPeer) -> dict[str, Any]:
    return {
        "public_key": b64decode(peer.public_key),
        "preshared_key": b64decode(peer.psk.value) if peer.psk else _NO_KEY,
        "endpoint": pack_endpoint(peer.endpoint, peer.port),
        "persistent_keepalive_interval": peer.keepalive_s,
    }


def _allowed_fields(public_key: str, prefixes: Sequence[IPNetwork]) -> dict[str, Any]:
    """Return what gives a peer *prefixes*, if there is such a peer."""
    allowed = [
        {
            "family": int(family_of(prefix)),
            "ipaddr": prefix.network_address.packed,
            "cidr_mask": prefix.prefixlen,
        }
        for prefix in prefixes
    ]
    return {
        "public_key": b64decode(public_key),
        "flags": WGPEER_F_UPDATE_ONLY,
        "allowedips": {"allowedip": allowed},
    }


def parse_device(
    dev: str, fields: Mapping[str, Any], written: Mapping[Key, WireguardPeer], now_s: float
) -> dict[Key, KernelObject]:
    """Return the objects of device *dev*.

    Args:
        dev: its name.
        fields: what it says of itself.
        written: peers as they were last written: one that is heard from elsewhere counts as there.
        now_s: seconds since 1970.
    """
    public = fields.get("public_key")
    device = WireguardDevice(
        dev=dev,
        public_key=b64encode(public).decode() if public else "",
        listen_port=fields.get("listen_port", 0),
    )
    state: dict[Key, KernelObject] = {device.key: device}
    for peer in fields.get("peers", {}).get("peer", ()):
        item = _parse_peer(dev, peer)
        before = written.get(item.key)
        if before is not None and _is_alive(peer, now_s):
            item = replace(item, endpoint=before.endpoint, port=before.port)
        state[item.key] = item
        for allowed in _allowed_of(peer):
            entry = AllowedIp(dev, _parse_prefix(allowed), b64encode(peer["public_key"]).decode())
            state[entry.key] = entry
    return state


def _parse_peer(dev: str, peer: Mapping[str, Any]) -> WireguardPeer:
    """Return the peer; one without an endpoint reads as one at 0.0.0.0, which is nobody's."""
    endpoint, port = ip_address("0.0.0.0"), 0  # noqa: S104  (no address to listen on)
    if "endpoint" in peer:
        endpoint, port = unpack_endpoint(peer["endpoint"])
    psk = peer.get("preshared_key", _NO_KEY)
    return WireguardPeer(
        dev=dev,
        public_key=b64encode(peer["public_key"]).decode(),
        endpoint=endpoint,
        port=port,
        psk=Secret("" if psk == _NO_KEY else b64encode(psk).decode()),
        keepalive_s=peer.get("persistent_keepalive_interval", 0),
    )


def _is_alive(peer: Mapping[str, Any], now_s: float) -> bool:
    seen_s: int = peer.get("last_handshake_time", {}).get("sec", 0)
    return 0 <= now_s - seen_s < SESSION_S


def _allowed_of(peer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = peer.get("allowedips", {}).get("allowedip", ())
    return found


def _parse_prefix(fields: Mapping[str, Any]) -> IPNetwork:
    return interface_in(ip_address(fields["ipaddr"]), fields["cidr_mask"]).network
