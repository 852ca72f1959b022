"""A client's line to its link: sockets that are open while there is something to say or to hear.

In: what the client says, and asks on the link. Out: what servers say and who has an address, as the
client's events. Used by `client`, one line each; a client at rest has none of it open.
"""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from podway.dhcp.errors import InterfaceError, PacketError
from podway.dhcp.interfaces import PlaceHolder, read_link
from podway.dhcp.leases import Lease
from podway.dhcp.packets import Kind
from podway.dhcp.sockets import ClientSocket, ProbeSocket
from podway.dhcp.states import Heard, Send
from podway.kernel.logs import get_log

# How many messages to read before others have their turn.
_MESSAGES_AT_ONCE: Final = 16
_log = get_log("podway.dhcp")


class Line:
    """Sockets of one client.

    Args:
        holder: of the interface's place.
        who: names the client in the log.
        on_message: called with each message that comes.
        on_packet: called with each packet of ARP that comes while somebody is asked for.
    """

    def __init__(
        self,
        holder: PlaceHolder,
        who: dict[str, object],
        on_message: Callable[[Heard], None],
        on_packet: Callable[[bytes], None],
    ) -> None:
        self._holder = holder
        self._ifname = holder.place.ifname
        self._who = who
        self._on_message = on_message
        self._on_packet = on_packet
        self._socket: ClientSocket | None = None
        self._probes: ProbeSocket | None = None

    def open(self) -> bytes | None:
        """Open what messages go through; return the interface's MAC address, None if it was open.

        Raises:
            InterfaceError: the interface cannot be used.
        """
        if self._socket is not None:
            return None
        with self._holder.opened() as descriptor:
            link = read_link(descriptor, self._ifname)
            opened = ClientSocket(descriptor, self._ifname, link)
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened.fileno(), self._readable)
        return link.mac

    def send(self, action: Send, lease: Lease | None) -> None:
        """Send a message; nothing is sent while the line is closed.

        Args:
            action: the message, and to whom.
            lease: by which its server is known; None while there is none.

        Raises:
            InterfaceError: the interface does not take it.
        """
        if self._socket is None:
            return
        _log.debug("send", **self._who, kind=action.message.kind.name)
        if action.server is None or lease is None:
            self._socket.broadcast(action.message)
            return
        # A release goes out at once, by the address that is known: the interface's end is near, and
        # the kernel would first ask for the server's.
        if action.message.kind is not Kind.RELEASE:
            with self._holder.opened() as descriptor:
                self._socket.open_datagrams(descriptor, lease.address)
        self._socket.send_to_server(action.message, action.server, lease.server_mac)

    def ask(self, address: IPv4Address, mac: bytes) -> None:
        """Ask on the link who has *address*; *mac* is the interface's.

        Raises:
            InterfaceError: the interface cannot be used.
        """
        _log.debug("probe", **self._who, address=address)
        if self._probes is None:
            with self._holder.opened() as descriptor:
                self._probes = ProbeSocket(descriptor, self._ifname)
            asyncio.get_running_loop().add_reader(self._probes.fileno(), self._answered)
        self._probes.ask(address, mac)

    def close(self) -> None:
        """Close all of it."""
        self.close_socket()
        self.close_probes()

    def close_socket(self) -> None:
        """Close what messages go through."""
        if self._socket is not None:
            _close(self._socket)
            self._socket = None

    def close_probes(self) -> None:
        """Close what asks who has an address."""
        if self._probes is not None:
            _close(self._probes)
            self._probes = None

    def _readable(self) -> None:
        for _ in range(_MESSAGES_AT_ONCE):
            if self._socket is None:
                return
            try:
                received = self._socket.receive()
            except PacketError as error:
                _log.debug("not understood", **self._who, reason=str(error))
                continue
            except InterfaceError as error:
                # It is down, or gone: the next message to be sent finds out.
                _log.debug("cannot hear", **self._who, reason=str(error))
                self.close_socket()
                return
            if received is None:
                return
            self._on_message(Heard(*received))

    def _answered(self) -> None:
        for _ in range(_MESSAGES_AT_ONCE):
            if self._probes is None:
                return
            try:
                packet = self._probes.receive()
            except InterfaceError as error:
                _log.debug("cannot hear", **self._who, reason=str(error))
                self.close_probes()
                return
            if packet is None:
                return
            self._on_packet(packet)


def _close(opened: ClientSocket | ProbeSocket) -> None:
    asyncio.get_running_loop().remove_reader(opened.fileno())
    opened.close()
