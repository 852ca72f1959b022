"""WireGuard devices over generic netlink: WG_CMD_GET_DEVICE, WG_CMD_SET_DEVICE.

A message is a `WireguardMessage`: struct genlmsghdr and the WGDEVICE_A_* attributes::

    +---------------+---------------+-------------------------------+
    | cmd WG_CMD_   |   version 1   |           reserved            |
    +---------------+---------------+-------------------------------+
    | ifname | private_key 32 | listen_port | flags | peers         |
    |                                                  |            |
    |   peer: public_key 32 | preshared_key 32 | flags | endpoint   |
    |         persistent_keepalive_interval | allowedips            |
    |                                            |                  |
    |   allowedip: family | ipaddr | cidr_mask                      |
    +---------------------------------------------------------------+

A set is applied from front to back, so one peer may stand there more than once. A listing comes in
several messages; a peer whose prefixes do not fit goes on in the next one under the same key.

The family's number is given by the kernel when its module is loaded, and asked for by name; the
question loads the module. No message shows what it carries: it carries keys.

Sources: include/uapi/linux/wireguard.h, drivers/net/wireguard/netlink.c, net/netlink/genetlink.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import ADDRESS, BYTES, TEXT, U8, U16, U32, U64, Bytes, Record
from podway.netlink.attributes import AttributeSet, Nested, Repeated
from podway.netlink.constants import (
    CTRL_CMD_GETFAMILY,
    GENL_ID_CTRL,
    NLM_F_DUMP,
    WG_CMD_GET_DEVICE,
    WG_CMD_SET_DEVICE,
)
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class AllowedIpFields(TypedDict, total=False):
        """One prefix that a peer may send from, and to which packets go to it.

        Attributes:
            family: AF_INET or AF_INET6.
            ipaddr: packed (4 or 16 bytes).
            cidr_mask: bits.
        """

        family: int
        ipaddr: bytes
        cidr_mask: int

    class PeerFields(TypedDict, total=False):
        """One peer.

        Attributes:
            public_key: 32 bytes.
            preshared_key: 32 bytes; all 0 for none.
            flags: in a request WGPEER_F_*.
            endpoint: a struct sockaddr_in or sockaddr_in6.
            persistent_keepalive_interval: seconds; 0 for none.
            last_handshake_time: ``sec`` and ``nsec`` since 1970; 0 without a handshake.
            rx_bytes: received since the peer was made.
            tx_bytes: sent since then.
            allowedips: ``{"allowedip": [...]}``.
            protocol_version: 1.
        """

        public_key: bytes
        preshared_key: bytes
        flags: int
        endpoint: bytes
        persistent_keepalive_interval: int
        last_handshake_time: Mapping[str, int]
        rx_bytes: int
        tx_bytes: int
        allowedips: Mapping[str, list[AllowedIpFields]]
        protocol_version: int

    class WireguardMessage(TypedDict, total=False):
        """One device.

        Attributes:
            cmd: WG_CMD_*.
            version: 1.
            ifindex: the device; in a request either this or *ifname*.
            ifname: its name.
            private_key: 32 bytes; all 0 takes it away.
            public_key: 32 bytes, as the kernel reckons it.
            flags: in a request WGDEVICE_F_*.
            listen_port: UDP port; 0 lets the kernel choose.
            fwmark: mark of the packets that it sends; 0 for none.
            peers: ``{"peer": [...]}``.
        """

        cmd: int
        version: int
        ifindex: int
        ifname: str
        private_key: bytes
        public_key: bytes
        flags: int
        listen_port: int
        fwmark: int
        peers: Mapping[str, list[PeerFields]]

    class FamilyMessage(TypedDict, total=False):
        """What the controller says of a generic netlink family.

        Attributes:
            cmd: CTRL_CMD_*.
            version: of the controller's messages.
            family_id: the type of the family's messages.
            family_name: "wireguard".
        """

        cmd: int
        version: int
        family_id: int
        family_name: str


_KEY = Bytes("must be a key of 32 bytes", frozenset({32}))
_SOCKADDR = Bytes("must be a struct sockaddr_in or sockaddr_in6", frozenset({16, 28}))

_ALLOWEDIP = AttributeSet(
    "WGALLOWEDIP_A",
    ((1, "family", U16), (2, "ipaddr", ADDRESS), (3, "cidr_mask", U8), (4, "flags", U32)),
)
_ALLOWEDIPS = AttributeSet(
    "WGALLOWEDIP", ((0, "allowedip", Repeated("allowedip", Nested(_ALLOWEDIP))),)
)
_PEER = AttributeSet(
    "WGPEER_A",
    (
        (1, "public_key", _KEY),
        (2, "preshared_key", _KEY),
        (3, "flags", U32),
        (4, "endpoint", _SOCKADDR),
        (5, "persistent_keepalive_interval", U16),
        (6, "last_handshake_time", Record("=qq", ("sec", "nsec"))),
        (7, "rx_bytes", U64),
        (8, "tx_bytes", U64),
        (9, "allowedips", Nested(_ALLOWEDIPS)),
        (10, "protocol_version", U32),
    ),
)
_PEERS = AttributeSet("WGPEER", ((0, "peer", Repeated("peer", Nested(_PEER))),))


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    del name_of
    return f"WireGuard device {fields.get('ifname', '')}"


WIREGUARD: Schema[WireguardMessage] = Schema(
    "wireguard",
    "=BBxx",
    ("cmd", "version"),
    AttributeSet(
        "WGDEVICE_A",
        (
            (1, "ifindex", U32),
            (2, "ifname", TEXT),
            (3, "private_key", _KEY),
            (4, "public_key", _KEY),
            (5, "flags", U32),
            (6, "listen_port", U16),
            (7, "fwmark", U32),
            (8, "peers", Nested(_PEERS)),
        ),
    ),
    _describe,
)
_FAMILY: Schema[FamilyMessage] = Schema(
    "generic netlink family",
    "=BBxx",
    ("cmd", "version"),
    AttributeSet(
        "CTRL_ATTR",
        ((1, "family_id", U16), (2, "family_name", TEXT), (6, "ops", BYTES)),
    ),
    lambda fields, _name_of: f"generic netlink family {fields.get('family_name', '')}",
)


def get_wireguard_family() -> Request[FamilyMessage]:
    """Return the request for the family's number; ENOENT where the kernel has no WireGuard."""
    fields = {"cmd": CTRL_CMD_GETFAMILY, "version": 1, "family_name": "wireguard"}
    return Request("read", _FAMILY, GENL_ID_CTRL, 0, fields)


def get_wireguard(family: int, ifname: str) -> Request[WireguardMessage]:
    """Return the request that lists device *ifname*; join the answers with `join_wireguard`.

    ENODEV without the device, EOPNOTSUPP if it is no WireGuard device.

    Args:
        family: the number of the family, see `get_wireguard_family`.
        ifname: name of the device.
    """
    fields = {"cmd": WG_CMD_GET_DEVICE, "version": 1, "ifname": ifname}
    return Request("list", WIREGUARD, family, NLM_F_DUMP, fields)


def set_wireguard(family: int, fields: WireguardMessage) -> Request[WireguardMessage]:
    """Return the request that changes the device ``ifname``: what is not named stays.

    Errors as of `get_wireguard`. One message holds at most 64 KiB of peers: some 400 of them.
    """
    return Request(
        "change", WIREGUARD, family, 0, {"cmd": WG_CMD_SET_DEVICE, "version": 1, **fields}
    )


def join_wireguard(messages: Iterable[WireguardMessage]) -> WireguardMessage:
    """Return the device that a listing's *messages* describe together."""
    whole: WireguardMessage = {}
    peers: dict[bytes, PeerFields] = {}
    for message in messages:
        whole = {**message, **whole}
        for peer in message.get("peers", {}).get("peer", []):
            before = peers.setdefault(peer["public_key"], peer)
            if before is not peer:
                more = peer.get("allowedips", {}).get("allowedip", [])
                there = before.get("allowedips", {}).get("allowedip", [])
                before["allowedips"] = {"allowedip": [*there, *more]}
    return {**whole, "peers": {"peer": list(peers.values())}}
