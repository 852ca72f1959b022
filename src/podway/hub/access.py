"""Who a client is, and what it may do.

A node's certificate names the node: it may claim, renew and release its own lease and read all.
``admin`` may do everything; so may root (or the hub's own user) on the hub's machine over the Unix
socket, and everybody where the operator opened the hub with ``--plaintext``, in a lab.
"""

import os
import socket
import struct
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from podway.store.frames import (
    AnyRequest,
    ClaimLease,
    Get,
    List,
    ReleaseLease,
    RenewLease,
    Watch,
)
from podway.store.refusals import NotAllowed

ADMIN = "admin"
_UCRED = struct.Struct("3i")  # pid, uid, gid of SO_PEERCRED (unix(7))


class Peer(Struct, frozen=True):
    """A client, once it is known: a node by its *name*, or an *admin*; *via*: how it came."""

    name: str
    admin: bool
    via: str

    @property
    def role(self) -> str:
        """What it is told that it is."""
        return ADMIN if self.admin else self.name


def identify_local(connection: socket.socket) -> Peer:
    """Return the client at the other end of a Unix socket. Raises `NotAllowed` unless root's."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _gid = _UCRED.unpack(data)
    if uid not in {0, os.geteuid()}:
        raise NotAllowed(f"user {uid} (process {pid}) may not use the hub: only root may")
    return Peer(name="", admin=True, via=f"unix uid={uid} pid={pid}")


def identify_certified(certificate: Mapping[str, Any], address: str) -> Peer:
    """Return the client that proved to own *certificate* (`ssl.SSLSocket.getpeercert`).

    Raises:
        NotAllowed: it names nobody.
    """
    names = [
        value
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    if len(names) != 1 or not names[0]:
        raise NotAllowed(f"the certificate needs one common name (a node's, or {ADMIN!r})")
    return Peer(name=names[0], admin=names[0] == ADMIN, via=f"tls {address}")


def identify_plain(address: str) -> Peer:
    """Return a client of a lab's plain TCP, who is trusted with everything."""
    return Peer(name="", admin=True, via=f"plaintext {address}")


def check_access(peer: Peer, request: AnyRequest) -> None:
    """Check that *peer* may make *request*.

    Raises:
        NotAllowed: it may not; the message says who may.
    """
    if isinstance(request, ClaimLease) and request.claim.name == ADMIN:
        raise NotAllowed(f"no node can be called {ADMIN!r}: that is the administrator's name")
    if peer.admin:
        return
    match request:
        case Watch() | Get() | List():
            return
        case ClaimLease():
            name = request.claim.name
        case RenewLease() | ReleaseLease():
            name = request.name
        case _:
            raise NotAllowed(f"node {peer.name} may not {_verb(request)}: only {ADMIN!r} may")
    if name != peer.name:
        who = f"the certificate of node {peer.name}"
        raise NotAllowed(f"{who} may not {_verb(request)} for node {name!r}")


def _verb(request: AnyRequest) -> str:
    return str(request.__struct_config__.tag)
