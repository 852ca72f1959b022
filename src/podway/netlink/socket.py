"""Requests to the kernel: one, many, or a listing.

Comes in: `Request` values. Goes out: decoded messages, or `NetlinkError` with the operation, the
kernel's reason and the field at fault. Why it is hard: answers share one queue, which drops what
does not fit; a listing may be torn by a concurrent change and must be read again; and an error
must find its request among thousands sent in one system call.

The kernel works on rtnetlink requests inside the send call (net/netlink/af_netlink.c,
netlink_unicast_kernel): once it returns, the answers are in the queue. A failed message is always
answered, a successful one only if it asks (NLM_F_ACK). So a batch asks once per send, in its last
message: whatever answer comes before that one is a failure, and the answers of one send are few
enough for the queue even if all fail.

Needs Linux 4.20 (NETLINK_GET_STRICT_CHK).
"""

from __future__ import annotations

import errno as errnos
from _socket import MSG_TRUNC, SO_RCVBUF, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812  # a class
from _struct import Struct

from podway.netlink.constants import (
    AF_NETLINK,
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_GET_STRICT_CHK,
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    SO_RCVBUFFORCE,
    SOL_NETLINK,
)
from podway.netlink.errors import DecodeError, NetlinkError
from podway.netlink.wire import (
    SEQUENCE_MASK,
    Ack,
    decode_ack,
    encode_batch,
    encode_message,
    iter_chunks,
    iter_frames,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Self, TypeVar

    from podway.netlink.messages import Request
    from podway.netlink.wire import Frame

    Message = TypeVar("Message")

# A datagram from the kernel is at most 32 KiB in a listing (netlink_dump), and an answer about one
# object less: of a device's virtual functions, which could be more, it speaks only when asked to
# (RTEXT_FILTER_VF). Memory that is not used costs as much as the requests of an executable.
_BUFFER_BYTES = 32 * 1024
_RECEIVE_QUEUE_BYTES = 4 * 1024 * 1024
# What one failure occupies in the receive queue: an skb with its bookkeeping, rounded up.
_ANSWER_BYTES = 2048
_SEND_BYTES = 48 * 1024
_DUMP_ATTEMPTS = 20
# The kernel answers before the send returns; this turns a lost answer into an error, not a hang.
_ANSWER_WITHIN_S = 10
_SO_RCVTIMEO = 20
_TIMEVAL = Struct("@ll")


def open_socket(protocol: int, netns_fd: int | None) -> Socket:
    """Return a bound netlink socket with extended acknowledgements and a large receive queue.

    Args:
        protocol: NETLINK_*.
        netns_fd: the namespace in which it lives; None for the thread's own.

    Raises:
        NetlinkError: the kernel gives none.
        NetnsError: the namespace cannot be entered.
    """
    if netns_fd is None:
        return _open_here(protocol)
    from podway.netlink.netns import entered  # noqa: PLC0415  # only those who need namespaces pay

    with entered(netns_fd):
        return _open_here(protocol)


def _open_here(protocol: int) -> Socket:
    operation = f"open a netlink socket of protocol {protocol}"
    try:
        opened = Socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise NetlinkError(error.errno or 0, operation) from error
    try:
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK):
            opened.setsockopt(SOL_NETLINK, option, 1)
        _enlarge_queue(opened)
        opened.setsockopt(SOL_SOCKET, _SO_RCVTIMEO, _TIMEVAL.pack(_ANSWER_WITHIN_S, 0))
        opened.bind((0, 0))
    except OSError as error:
        opened.close()
        raise NetlinkError(error.errno or 0, operation) from error
    return opened


def _enlarge_queue(opened: Socket) -> None:
    try:
        opened.setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, _RECEIVE_QUEUE_BYTES)
    except PermissionError:  # without CAP_NET_ADMIN: as much as net.core.rmem_max allows
        opened.setsockopt(SOL_SOCKET, SO_RCVBUF, _RECEIVE_QUEUE_BYTES)


class OpenSocket:
    """A netlink socket, whatever for: its descriptor and its end. A context manager."""

    __slots__ = ("_socket",)
    _socket: Socket

    def fileno(self) -> int:
        """Return the file descriptor; -1 once closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class NetlinkSocket(OpenSocket):
    """A netlink socket for requests; blocking, for one thread at a time.

    Attributes:
        protocol: NETLINK_*.
    """

    __slots__ = ("_answers_max", "_buffer", "_sequence", "protocol")

    def __init__(self, protocol: int = NETLINK_ROUTE, netns_fd: int | None = None) -> None:
        """Open the socket.

        Args:
            protocol: NETLINK_ROUTE or another NETLINK_*.
            netns_fd: namespace in which the socket lives for good; None for the thread's own.

        Raises:
            NetlinkError: the kernel gives no such socket.
            NetnsError: the namespace cannot be entered.
        """
        self.protocol = protocol
        self._sequence = 0
        self._buffer = bytearray(_BUFFER_BYTES)
        self._socket = open_socket(protocol, netns_fd)
        queue_bytes = self._socket.getsockopt(SOL_SOCKET, SO_RCVBUF)
        self._answers_max = max(1, queue_bytes // _ANSWER_BYTES)

    @property
    def port_id(self) -> int:
        """The socket's address: notifications of what it did carry it (`Event.port_id`)."""
        port_id: int = self._socket.getsockname()[0]
        return port_id

    def request(self, request: Request[Message]) -> Message | None:
        """Carry out one request.

        Returns:
            The object for a read, the object made for NLM_F_ECHO; None for a bare acknowledgement.

        Raises:
            NetlinkError: the kernel refused.
            EncodeError: the message has an unknown field or an impossible value.
        """
        replies, ack = self.exchange(request)
        if ack.errno:
            raise self._errors([(request, ack)])[0]
        return replies[-1] if replies else None

    def exchange(self, request: Request[Message]) -> tuple[list[Message], Ack]:
        """Send one request; return the replies and the acknowledgement, whatever it says."""
        payload = request.schema.encode(request.fields)
        sequence = self._take_sequences(1)
        self._send(encode_message(request.type, request.flags | NLM_F_ACK, sequence, payload))
        replies: list[Message] = []
        while True:
            data = self._receive()
            for frame in iter_frames(data):
                if frame[2] != sequence:
                    continue  # the rest of an exchange that an exception cut short
                if frame[0] == NLMSG_ERROR:
                    return replies, decode_ack(data, frame)
                if frame[0] != NLMSG_NOOP:
                    replies.append(request.schema.decode(data, frame[4], frame[5]))

    def batch(self, requests: Iterable[Request[Any]]) -> list[NetlinkError | None]:
        """Carry out many requests in order, in as few system calls as possible.

        A failure stops nothing: requests are independent and each has a result of its own. For
        requests without a reply: create, replace, change, delete.

        Returns:
            For each request None or why it failed, in the order of *requests*.

        Raises:
            EncodeError: a message is impossible; then nothing at all was sent.
            NetlinkError: the socket itself failed, and what became of the requests is unknown.
        """
        requests = list(requests)
        payloads = [request.schema.encode(request.fields) for request in requests]
        failures: dict[int, Ack] = {}
        for start, stop in iter_chunks(payloads, _SEND_BYTES, self._answers_max):
            failed = self._send_chunk(requests[start:stop], payloads[start:stop])
            failures |= {start + n: ack for n, ack in failed.items()}
        return self._results(requests, failures)

    def _send_chunk(self, requests: list[Request[Any]], payloads: list[bytes]) -> dict[int, Ack]:
        """Send messages in one call; return the failures by index."""
        first = self._take_sequences(len(requests))
        self._send(encode_batch(requests, payloads, first))
        return {n: ack for n, ack in self._acks(first, len(requests) - 1) if ack.errno}

    def _acks(self, first: int, last: int) -> Iterator[tuple[int, Ack]]:
        """Yield ``(n, ack)`` for sequence *first* + n, up to and with n = *last*."""
        while True:
            data = self._receive()
            for frame in iter_frames(data):
                n = frame[2] - first & SEQUENCE_MASK
                if frame[0] != NLMSG_ERROR or n > last:
                    continue
                yield n, decode_ack(data, frame)
                if n == last:
                    return

    def _results(
        self, requests: list[Request[Any]], failures: dict[int, Ack]
    ) -> list[NetlinkError | None]:
        results: list[NetlinkError | None] = [None] * len(requests)
        if not failures:
            return results
        errors = self._errors([(requests[index], ack) for index, ack in failures.items()])
        for index, error in zip(failures, errors, strict=True):
            results[index] = error
        return results

    def dump(self, request: Request[Message]) -> list[Message]:
        """Carry out a listing, whole and consistent.

        Raises:
            NetlinkError: the kernel refused; EINTR when the objects kept changing under the
                listing, however often it was begun anew.
        """
        messages = [
            request.schema.decode(data, frame[4], frame[5])
            for data, frames in self._list(request, _DUMP_ATTEMPTS)
            for frame in frames
        ]
        keep = request.keep
        return [m for m in messages if keep(m)] if keep else messages

    def _list(self, request: Request[Any], attempts: int) -> list[tuple[bytes, list[Frame]]]:
        """Return the datagrams of a listing that is whole, each with the messages in it."""
        for _ in range(attempts):
            datagrams, ack, is_torn = self._list_once(request)
            if ack.errno and ack.errno == request.empty_errno:
                return []
            if ack.errno:
                raise self._errors([(request, ack)])[0]
            if not is_torn:
                return datagrams
        torn = Ack(errnos.EINTR, {"msg": "it changed while being read"})
        raise self._errors([(request, torn)])[0]

    def _list_once(
        self, request: Request[Any]
    ) -> tuple[list[tuple[bytes, list[Frame]]], Ack, bool]:
        """Read one listing to its end; tell whether it was torn (NLM_F_DUMP_INTR)."""
        payload = request.schema.encode(request.fields)
        sequence = self._take_sequences(1)
        self._send(encode_message(request.type, request.flags, sequence, payload))
        datagrams: list[tuple[bytes, list[Frame]]] = []
        is_torn = False
        try:
            while True:
                data = self._receive()
                frames: list[Frame] = []
                for frame in iter_frames(data):
                    if frame[2] != sequence:
                        continue
                    is_torn |= bool(frame[1] & NLM_F_DUMP_INTR)
                    if frame[0] in {NLMSG_DONE, NLMSG_ERROR}:
                        datagrams.append((data, frames))
                        return datagrams, decode_ack(data, frame), is_torn
                    if frame[0] != NLMSG_NOOP:
                        frames.append(frame)
                datagrams.append((data, frames))
        except BaseException:
            # The kernel allows one listing per socket, and this one will not be read to its end.
            self.close()
            raise

    def _take_sequences(self, count: int) -> int:
        first = self._sequence + 1 & SEQUENCE_MASK
        self._sequence = first + count - 1 & SEQUENCE_MASK
        return first

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, (0, 0))
        except OSError as error:
            raise NetlinkError(error.errno or 0, f"send {len(data)} bytes to the kernel") from error

    def _receive(self) -> bytes:
        """Return one datagram from the kernel; what other processes send is dropped."""
        operation = "read the kernel's answer"
        while True:
            try:
                size, sender = self._socket.recvfrom_into(self._buffer, 0, MSG_TRUNC)
            except BlockingIOError as error:
                raise NetlinkError(errnos.ETIMEDOUT, operation) from error
            except OSError as error:
                raise NetlinkError(error.errno or 0, operation) from error
            if size > len(self._buffer):
                raise DecodeError(f"the kernel's answer has {size} bytes, {len(self._buffer)} fit")
            if sender[0] == 0:
                return bytes(memoryview(self._buffer)[:size])

    def _errors(self, failures: list[tuple[Request[Any], Ack]]) -> list[NetlinkError]:
        """Return the errors for *failures*, in words: devices by name, attributes by field."""
        from podway.netlink.refusals import explain  # noqa: PLC0415  # when something failed

        return explain(self, failures)
