"""TCP between two namespaces of a lab, carried by sockets of the test's own process."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from podway.lab.ping import Station
from podway.model.addresses import IPAddress
from podway.netlink.netns import entered

# Large enough that most of it travels in segments as large as the way allows.
AMOUNT_BYTES = 2_000_000
PATIENCE_S = 15.0


def transfer(source: Station, target: Station, address: IPAddress) -> int:
    """Send `AMOUNT_BYTES` from *source* to *address* of *target*; return how many arrived.

    Less than all: they stopped arriving, and nobody waited for longer than `PATIENCE_S`.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with _socket(target.netns, family) as listener:
        listener.bind((str(address), 0))
        listener.listen()
        sender = threading.Thread(target=_send, args=(source.netns, family, listener))
        sender.start()
        try:
            return _receive(listener)
        finally:
            sender.join()


def seen_as(source: Station, target: Station, address: IPAddress) -> IPAddress:
    """Return as which address *target* sees *source*, which connects to its *address*."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with _socket(target.netns, family) as listener, _socket(source.netns, family) as connection:
        listener.bind((str(address), 0))
        listener.listen()
        connection.connect(listener.getsockname()[:2])
        accepted, name = listener.accept()
        accepted.close()
        return ip_address(name[0])


def _send(netns: Path, family: socket.AddressFamily, listener: socket.socket) -> None:
    with _socket(netns, family) as connection:
        try:
            connection.connect(listener.getsockname()[:2])
            connection.sendall(bytes(AMOUNT_BYTES))
        except OSError:
            return  # the receiver counts what has arrived


def _receive(listener: socket.socket) -> int:
    count = 0
    try:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            while data := connection.recv(1 << 16):
                count += len(data)
    except TimeoutError:
        pass
    return count


@contextmanager
def _socket(netns: Path, family: socket.AddressFamily) -> Iterator[socket.socket]:
    """Give a TCP socket that belongs to *netns*."""
    netns_fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with entered(netns_fd):
            made = socket.socket(family, socket.SOCK_STREAM)
    finally:
        os.close(netns_fd)
    with made:
        made.settimeout(PATIENCE_S)
        yield made
