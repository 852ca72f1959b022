"""WireGuard's text protocol, which a process speaks that stands in for the kernel. Pure.

In and out: the same fields as over netlink (`podway.netlink.wireguard`), as lines of ``key=value``
with keys in hexadecimal, over a Unix socket::

    set=1                            get=1
    listen_port=51820                (empty line)
    public_key=8f1c...            -> private_key=e84b...
    update_only=true                 listen_port=51820
    allowed_ip=10.244.2.0/24         public_key=8f1c...
    (empty line)                     allowed_ip=10.244.2.0/24
                                     errno=0
                                     (empty line)

Source: https://www.wireguard.com/xplatform/, "Cross-platform Userspace Implementation".
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from podway.kernel.wireguard_endpoints import pack_endpoint, unpack_endpoint
from podway.model.addresses import family_of
from podway.netlink.constants import (
    WGPEER_F_REMOVE_ME,
    WGPEER_F_REPLACE_ALLOWEDIPS,
    WGPEER_F_UPDATE_ONLY,
)

GET = b"get=1\n\n"
END = b"\n\n"
_FLAGS = (
    (WGPEER_F_REMOVE_ME, "remove"),
    (WGPEER_F_UPDATE_ONLY, "update_only"),
    (WGPEER_F_REPLACE_ALLOWEDIPS, "replace_allowed_ips"),
)


def render_set(fields: Mapping[str, Any]) -> bytes:
    """Return the request that makes a device what *fields* say; what is not named stays."""
    return "\n".join(("set=1", *_device_lines(fields), "", "")).encode()


def _device_lines(fields: Mapping[str, Any]) -> Iterator[str]:
    if "private_key" in fields:
        yield f"private_key={fields['private_key'].hex()}"
    if "listen_port" in fields:
        yield f"listen_port={fields['listen_port']}"
    for peer in fields.get("peers", {}).get("peer", ()):
        yield from _peer_lines(peer)


def _peer_lines(peer: Mapping[str, Any]) -> Iterator[str]:
    yield f"public_key={peer['public_key'].hex()}"
    yield from (f"{word}=true" for flag, word in _FLAGS if peer.get("flags", 0) & flag)
    if "preshared_key" in peer:
        yield f"preshared_key={peer['preshared_key'].hex()}"
    if "endpoint" in peer:
        address, port = unpack_endpoint(peer["endpoint"])
        host = f"[{address}]" if address.version == 6 else str(address)
        yield f"endpoint={host}:{port}"
    if "persistent_keepalive_interval" in peer:
        yield f"persistent_keepalive_interval={peer['persistent_keepalive_interval']}"
    for allowed in peer.get("allowedips", {}).get("allowedip", ()):
        yield f"allowed_ip={ip_address(allowed['ipaddr'])}/{allowed['cidr_mask']}"


def parse_errno(text: bytes) -> int:
    """Return the errno that an answer ends with; 0 for success.

    Raises:
        ValueError: the answer has none, so it is cut off or of another protocol.
    """
    word, _, number = text.decode().rstrip("\n").rpartition("\n")[2].partition("=")
    if word != "errno":
        raise ValueError("the answer does not end with an errno")
    return abs(int(number))


def parse_get(text: bytes) -> dict[str, Any]:
    """Return the device that the answer to `GET` describes.

    Raises:
        ValueError: a line is none of the protocol's.
    """
    device: dict[str, Any] = {}
    peers: list[dict[str, Any]] = []
    for line in text.decode().splitlines():
        word, _, value = line.partition("=")
        match word:
            case "private_key":
                device["private_key"] = bytes.fromhex(value)
            case "listen_port" | "fwmark":
                device[word] = int(value)
            case "public_key":
                peers.append({"public_key": bytes.fromhex(value), "allowedips": {"allowedip": []}})
            case _:
                if peers:
                    _take(peers[-1], word, value)
    return {**device, "peers": {"peer": peers}}


def _take(peer: dict[str, Any], word: str, value: str) -> None:
    """Enter one line about *peer*; lines of a newer version pass."""
    match word:
        case "preshared_key":
            peer["preshared_key"] = bytes.fromhex(value)
        case "endpoint":
            host, _, port = value.rpartition(":")
            peer["endpoint"] = pack_endpoint(_parse_host(host), int(port))
        case "persistent_keepalive_interval":
            peer["persistent_keepalive_interval"] = int(value)
        case "last_handshake_time_sec":
            peer["last_handshake_time"] = {"sec": int(value)}
        case "allowed_ip":
            host, _, length = value.partition("/")
            address = ip_address(host)
            allowed = {"family": int(family_of(address)), "ipaddr": address.packed}
            peer["allowedips"]["allowedip"].append({**allowed, "cidr_mask": int(length)})
        case _:
            pass


def _parse_host(text: str) -> IPv4Address | IPv6Address:
    return ip_address(text.strip("[]").partition("%")[0])
