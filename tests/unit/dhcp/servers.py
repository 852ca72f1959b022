"""What servers say, for tests of the DHCP client."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from podway.dhcp.packets import REPLY, Kind, Message
from podway.dhcp.states import Context, Dice, Heard, Identity, Patience

MAC = bytes.fromhex("0a0000000001")
SERVER_MAC = bytes.fromhex("0a00000000fe")
SERVER = IPv4Address("10.1.0.1")
OTHER_SERVER = IPv4Address("10.1.0.2")
ADDRESS = IPv4Address("10.1.0.50")
OTHER_ADDRESS = IPv4Address("10.1.0.51")
XID = 0x1000
IDENTITY = Identity(mac=MAC, client_id=b"\0c1/net/eth0", requested=(3, 1), provided={12: b"pod"})
LEASE_S = 1000


def seconds(number: int) -> bytes:
    return number.to_bytes(4, "big")


def usual(server: IPv4Address = SERVER, lease_s: int = LEASE_S) -> dict[int, bytes]:
    """Return the options of a usual offer."""
    return {
        54: server.packed,
        51: seconds(lease_s),
        1: bytes.fromhex("ffffff00"),
        3: IPv4Address("10.1.0.1").packed,
    }


def said(
    kind: Kind,
    *,
    address: IPv4Address = ADDRESS,
    options: Mapping[int, bytes] | None = None,
    xid: int = XID,
    mac: bytes = MAC,
    op: int = REPLY,
) -> Heard:
    """Return the event of a server's message."""
    message = Message(
        op=op, kind=kind, xid=xid, mac=mac, yiaddr=address, options=usual() | dict(options or {})
    )
    return Heard(message, SERVER_MAC)


def context(
    now_s: float = 0.0, *, xid: int = XID, jitter: float = 0.0, identity: Identity = IDENTITY
) -> Context:
    return Context(identity, Patience(), now_s, Dice(xid=xid, jitter=jitter))
