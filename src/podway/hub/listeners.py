"""The sockets on which the hub listens, and how each tells who connects.

A Unix socket is for root on this machine: made with mode 0600 in a directory of root's own, and
the other end's user is checked on top. TCP is mutual TLS, unless ``--plaintext`` says otherwise.
"""

import asyncio
import os
import socket
from functools import partial
from pathlib import Path

from podway.errors import ConfigError
from podway.hub.access import Peer, identify_certified, identify_local, identify_plain
from podway.hub.server import HubServer
from podway.hub.tls import TlsConnection, peer_name
from podway.store.address import HubAddress, TcpAddress, UnixAddress
from podway.store.renewed import Renewed
from podway.store.tls import TlsFiles, server_context

# A whole cluster may reconnect within one second.
BACKLOG = 4096


async def listen(server: HubServer, address: HubAddress, tls: TlsFiles | None) -> asyncio.Server:
    """Listen on *address*; TCP without *tls* is open to everybody.

    Raises:
        ConfigError: the address cannot be listened on, or the TLS files cannot be used.
    """
    try:
        match address:
            case UnixAddress():
                return await _listen_unix(server, address.path)
            case TcpAddress():
                return await _listen_tcp(server, address, tls)
    except OSError as error:
        reason = f"cannot listen: {error.strerror or error}"
        raise ConfigError("listen", str(address), reason) from error


def bound_address(address: HubAddress, listener: asyncio.Server) -> HubAddress:
    """Return *address* with the port that the kernel chose, where it asked for any (0)."""
    if isinstance(address, TcpAddress) and address.port == 0:
        return TcpAddress(address.host, listener.sockets[0].getsockname()[1])
    return address


async def _listen_unix(server: HubServer, path: Path) -> asyncio.Server:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # no moment at which others could connect
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    loop = asyncio.get_running_loop()
    factory = partial(server.connect, _identify_local)
    return await loop.create_unix_server(factory, sock=listener, backlog=BACKLOG)


def _remove_stale(path: Path) -> None:
    """Remove the socket that a killed hub left; refuse when a living one answers there."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError("listen", f"unix:{path}", "another hub listens there; stop it first")


async def _listen_tcp(
    server: HubServer, address: TcpAddress, tls: TlsFiles | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    host, port = address.host, address.port
    if tls is None:
        factory = partial(server.connect, _identify_plain)
        return await loop.create_server(factory, host, port, backlog=BACKLOG)
    context = Renewed(partial(server_context, tls))
    make = partial(server.connect, _identify_tls)
    return await loop.create_server(
        lambda: TlsConnection(server, context.now(), make), host, port, backlog=BACKLOG
    )


def _identify_local(transport: asyncio.Transport) -> Peer:
    connection = transport.get_extra_info("socket")
    return identify_local(connection)


def _identify_plain(transport: asyncio.Transport) -> Peer:
    return identify_plain(peer_name(transport))


def _identify_tls(transport: asyncio.Transport) -> Peer:
    certificate = transport.get_extra_info("peercert") or {}
    return identify_certified(certificate, peer_name(transport))
