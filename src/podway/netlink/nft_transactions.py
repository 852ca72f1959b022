"""Changes of nftables that happen together or not at all, and rules found among many.

Comes in: requests of `nft_rules`. Goes out: nothing, or the first `NetlinkError`. A transaction is
one datagram: NFNL_MSG_BATCH_BEGIN, the messages, NFNL_MSG_BATCH_END; the kernel commits when it
reaches the end without an error (net/netfilter/nfnetlink.c, nfnetlink_rcv_batch), and answers
before the send returns.

A commit takes well under a millisecond. What takes 10 to 16 ms after one that deletes, or that
makes a chain which is there already (that counts as a change of it), is the *closing* of the
socket: nft_rcv_nl_event waits for the memory of what was deleted or replaced to be freed
(nf_tables_trans_destroy_flush_work, a grace period). Do everything in one socket, and see
`podway.plugins.lingering` for a process that shall end before that.
"""

from __future__ import annotations

from _socket import SOL_SOCKET
from _struct import Struct

from podway.netlink.constants import (
    NETLINK_NETFILTER,
    NFNL_SUBSYS_NFTABLES,
    NLM_F_REQUEST,
)
from podway.netlink.errors import NetlinkError
from podway.netlink.nft_rules import dump_rules, get_chain, get_rule
from podway.netlink.socket import NetlinkSocket
from podway.netlink.wire import SEQUENCE_MASK, encode_batch, encode_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from podway.netlink.messages import Request
    from podway.netlink.nft_rules import NftFields
    from podway.netlink.wire import Frame

_NFNL_MSG_BATCH_BEGIN = 16
_NFNL_MSG_BATCH_END = 17
# struct nfgenmsg: family, version, res_id: the subsystem of the batch.
_BATCH = Struct(">BBH").pack(0, 0, NFNL_SUBSYS_NFTABLES)
_SO_SNDBUFFORCE = 32
_USUAL_SEND_BYTES = 64 * 1024
# Any commit on the node tears a listing that is under way.
_LIST_ATTEMPTS = 50


class NftSocket(NetlinkSocket):
    """A socket for transactions of nftables; blocking, for one thread at a time."""

    __slots__ = ()

    def __init__(self, netns_fd: int | None = None) -> None:
        """Open the socket; see `NetlinkSocket`."""
        super().__init__(NETLINK_NETFILTER, netns_fd)

    def commit(self, requests: Iterable[Request[Any]]) -> None:
        """Carry out *requests* together or not at all; none is no transaction.

        Raises:
            NetlinkError: the first request that failed; nothing has changed.
            EncodeError: a message is impossible; nothing was sent.
        """
        requests = list(requests)
        if not requests:
            return
        first = self._take_sequences(len(requests) + 2)
        batch = self._encode_batch(requests, first)
        if len(batch) > _USUAL_SEND_BYTES:
            # One datagram, so the send buffer must hold it all (netlink_sendmsg, EMSGSIZE).
            self._socket.setsockopt(SOL_SOCKET, _SO_SNDBUFFORCE, len(batch) * 2)
        self._send(batch)
        self._await_commit(requests, first)

    def _encode_batch(self, requests: Sequence[Request[Any]], first: int) -> bytes:
        begin = encode_message(_NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, first, _BATCH)
        payloads = [request.schema.encode(request.fields) for request in requests]
        messages = encode_batch(requests, payloads, first + 1)
        last = first + len(requests) + 1 & SEQUENCE_MASK
        return begin + messages + encode_message(_NFNL_MSG_BATCH_END, NLM_F_REQUEST, last, _BATCH)

    def _await_commit(self, requests: Sequence[Request[Any]], first: int) -> None:
        """Read answers up to that of the last request; errors come before it, in order."""
        error: NetlinkError | None = None
        for n, ack in self._acks(first, len(requests) + 1):
            if not 1 <= n <= len(requests):
                raise NetlinkError(ack.errno, "commit to nftables", ack.reason)
            if ack.errno and error is None:
                error = self._errors([(requests[n - 1], ack)])[0]
            if n == len(requests):
                break
        if error is not None:
            raise error

    def has_chain(self, family: int, table: str, chain: str) -> bool:
        """Tell whether a chain exists."""
        return self.find_chain(family, table, chain) is not None

    def find_chain(self, family: int, table: str, chain: str) -> NftFields | None:
        """Return a chain; None without one."""
        return self._find(get_chain({"family": family, "table": table, "name": chain}))

    def find_rule(self, family: int, table: str, chain: str, handle: int) -> NftFields | None:
        """Return the rule number *handle* of a chain; None without one."""
        return self._find(
            get_rule({"family": family, "table": table, "chain": chain, "handle": handle})
        )

    def _find(self, request: Request[NftFields]) -> NftFields | None:
        try:
            return self.request(request)
        except NetlinkError as error:
            if error.is_not_found:
                return None
            raise

    def find_rules(self, family: int, table: str, chain: str, *needles: bytes) -> list[NftFields]:
        """Return the rules of a chain that hold one of *needles* somewhere in their bytes.

        Of thousands of rules only those are decoded; without needles all. No such table or chain:
        no rules.
        """
        needles = needles or (b"",)
        request = dump_rules(family, table, chain)
        return [
            request.schema.decode(data, frame[4], frame[5])
            for data, frames in self._list(request, _LIST_ATTEMPTS)
            for frame in _holding(data, frames, needles)
        ]


def _holding(data: bytes, frames: list[Frame], needles: Sequence[bytes]) -> list[Frame]:
    """Return those of the *frames* of a datagram that hold one of *needles*."""
    found: list[Frame] = []
    # Most datagrams hold none: to search them whole is quicker than frame by frame.
    for needle in needles:
        if needle in data:
            found += [
                frame
                for frame in frames
                if frame not in found and data.find(needle, frame[4], frame[5]) >= 0
            ]
    return sorted(found, key=_start) if len(needles) > 1 else found


def _start(frame: Frame) -> int:
    return frame[4]
