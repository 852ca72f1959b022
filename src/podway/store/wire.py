"""The hub's wire protocol: frames, and how they lie in the stream. Client and hub share this file.

::

    0        4
    +--------+---------------------------------+
    | length | msgpack map {"t": type, ...}    |     length: of the map in bytes, big-endian
    +--------+---------------------------------+

The client begins with `Hello`, the hub answers `Welcome` or `Goodbye`. Then the client sends
requests, each with an ``id`` of its choice, and gets one `Done`, `Listing` (in parts) or `Failure`
for each, in order. `Watch` starts the stream: either `SnapshotStart`, `SnapshotPart`s and
`SnapshotEnd` (what changed since the parts were made comes as `Deltas` before the end), or
`Resumed`; then `Deltas` for ever. Both sides send a `Ping` every heartbeat; any frame is a sign of
life. The hub's last word on a connection is a `Goodbye` that says why.

Maps, not arrays: a newer side may add keys (ignored) and frames (behind a feature that both named).
Nodes travel as `podway.store.codec.encode_node` made them, so the hub encodes a node once in its
life; the network travels as its net-conf.json text.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from podway.store.codec import ClaimBody
from podway.store.protocol import StoreError

PROTOCOL_VERSION = 1
FEATURES = ("resume",)
HEADER_BYTES = 4
# A request holds one net-conf.json at most; an answer one part of a snapshot.
REQUEST_MAX_BYTES = 256 << 10
HELLO_MAX_BYTES = 4096
ANSWER_MAX_BYTES = 4 << 20
# Frames that the hub cuts itself: small enough that a slow client holds up little memory.
PART_BYTES = 8 << 10

KIND_NODE = "node"
KIND_RESERVATION = "reservation"
KIND_CONFIG = "config"
NETWORK_NAME = "network"


class WireError(StoreError):
    """The other side does not speak this protocol, or broke it."""


class Hello(Struct, frozen=True, tag_field="t", tag="hello"):
    """First frame of a client: what it speaks, and who it is (for logs only)."""

    version: int
    features: tuple[str, ...] = ()
    name: str = ""


class Ping(Struct, frozen=True, tag_field="t", tag="ping"):
    """A sign of life, both ways; no answer."""


class Request(Struct, frozen=True, kw_only=True, tag_field="t"):
    """What all requests share: the number that their answer will carry."""

    id: int


class ClaimLease(Request, frozen=True, kw_only=True, tag="claim"):
    """Lease subnets; answer: the node."""

    claim: ClaimBody


class RenewLease(Request, frozen=True, kw_only=True, tag="renew"):
    """Start a lease's time to live anew."""

    name: str


class ReleaseLease(Request, frozen=True, kw_only=True, tag="release"):
    """Give a lease back."""

    name: str


class Reserve(Request, frozen=True, kw_only=True, tag="reserve"):
    """Keep subnets for a node that need not exist yet."""

    name: str
    subnets: tuple[str, ...]


class Put(Request, frozen=True, kw_only=True, tag="put", omit_defaults=True):
    """Store a value; *expected*: the revision that it must have now, 0: it must not be there."""

    kind: str
    name: str
    value: bytes
    expected: int | None = None
    force: bool = False


class Get(Request, frozen=True, kw_only=True, tag="get"):
    """Read one value; answer: revision and value, None where there is none."""

    kind: str
    name: str


class Delete(Request, frozen=True, kw_only=True, tag="delete", omit_defaults=True):
    """Remove a value; *expected* as in `Put`."""

    kind: str
    name: str
    expected: int | None = None


class List(Request, frozen=True, kw_only=True, tag="list"):
    """Read every value of one kind."""

    kind: str


class Watch(Request, frozen=True, kw_only=True, tag="watch", omit_defaults=True):
    """Start the stream; after *revision* of the store *store_id* where that is still possible."""

    store_id: str = ""
    revision: int = 0


AnyRequest: TypeAlias = (
    ClaimLease | RenewLease | ReleaseLease | Reserve | Put | Get | Delete | List | Watch
)
ClientFrame: TypeAlias = Hello | Ping | AnyRequest


class Welcome(Struct, frozen=True, kw_only=True, tag_field="t", tag="welcome"):
    """First frame of the hub.

    Attributes:
        store_id: names the store for ever; revisions of another store mean nothing.
        heartbeat_s: how often both sides send a `Ping`; silence for three times that is death.
        role: as whom the hub knows the client: a node's name, or ``admin``.
    """

    version: int
    features: tuple[str, ...]
    store_id: str
    heartbeat_s: float
    role: str


class Done(Struct, frozen=True, kw_only=True, tag_field="t", tag="done", omit_defaults=True):
    """The request is done and durable."""

    id: int
    revision: int = 0
    value: bytes | None = None


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value of a `Listing`; *ttl_s* and *expires_in_s* for nodes with a lease that ends."""

    name: str
    revision: int
    value: bytes
    ttl_s: int = 0
    expires_in_s: float | None = None


class Listing(Struct, frozen=True, kw_only=True, tag_field="t", tag="listing"):
    """A part of a list; *more* parts follow, or this was the last."""

    id: int
    items: tuple[Item, ...]
    more: bool


class Failure(Struct, frozen=True, kw_only=True, tag_field="t", tag="failure"):
    """The request was refused: `podway.store.refusals.Code`, and words for people."""

    id: int
    code: str
    message: str


class SnapshotStart(Struct, frozen=True, kw_only=True, tag_field="t", tag="snapshot"):
    """A whole state follows; *network* is None until there is one."""

    revision: int
    network: str | None


class SnapshotPart(Struct, frozen=True, kw_only=True, tag_field="t", tag="part"):
    """Some of its nodes."""

    nodes: tuple[bytes, ...]


class SnapshotEnd(Struct, frozen=True, kw_only=True, tag_field="t", tag="end"):
    """The state is complete."""

    revision: int


class Resumed(Struct, frozen=True, kw_only=True, tag_field="t", tag="resumed"):
    """What follows are the changes since the revision that the client named."""

    revision: int


class Changed(Struct, frozen=True, array_like=True):
    """The node called *name* now reads *node*; None: it is gone."""

    name: str
    node: bytes | None


class Deltas(Struct, frozen=True, kw_only=True, tag_field="t", tag="delta", omit_defaults=True):
    """What changed; with it the client is at *revision*. *network* is None where it stayed.

    Of several frames for one revision only the last names it; the others name the one before,
    because a client that has seen but some of them must ask for all again.
    """

    revision: int
    changes: tuple[Changed, ...] = ()
    network: str | None = None


class Goodbye(Struct, frozen=True, kw_only=True, tag_field="t", tag="goodbye"):
    """The hub ends the connection, and this is why."""

    code: str
    message: str


HubFrame: TypeAlias = (
    Welcome
    | Ping
    | Done
    | Listing
    | Failure
    | SnapshotStart
    | SnapshotPart
    | SnapshotEnd
    | Resumed
    | Deltas
    | Goodbye
)

_encoder = msgspec.msgpack.Encoder()
_client_decoder = msgspec.msgpack.Decoder(ClientFrame)
_hub_decoder = msgspec.msgpack.Decoder(HubFrame)


def encode_frame(frame: ClientFrame | HubFrame) -> bytes:
    """Return *frame* as it goes into the stream, length first."""
    buffer = bytearray(HEADER_BYTES)
    _encoder.encode_into(frame, buffer, HEADER_BYTES)
    buffer[:HEADER_BYTES] = (len(buffer) - HEADER_BYTES).to_bytes(HEADER_BYTES, "big")
    return bytes(buffer)


def decode_client_frame(body: bytes) -> ClientFrame:
    """Return what a client sent. Raises `WireError` when it is no frame of a client."""
    try:
        frame: ClientFrame = _client_decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"frame of {len(body)} bytes cannot be read: {error}") from error
    return frame


def decode_hub_frame(body: bytes) -> HubFrame:
    """Return what a hub sent. Raises `WireError` when it is no frame of a hub."""
    try:
        frame: HubFrame = _hub_decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"frame of {len(body)} bytes cannot be read: {error}") from error
    return frame


class FrameSplitter:
    """Cuts a stream into frames; holds no more than one unfinished frame of bounded length.

    The time it takes grows with the bytes alone, however small the pieces in which they come.
    """

    __slots__ = ("_rest", "_wanted", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._rest: bytearray | None = None
        self._wanted = HEADER_BYTES

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return self._rest is not None

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Return the bodies of the frames that *data* completes.

        Raises:
            WireError: a frame says that it is longer than allowed.
        """
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._wanted:
                return ()
            data = bytes(self._rest)
        return self._split(data)

    def _split(self, data: bytes) -> Sequence[bytes]:
        bodies = []
        start, size = 0, len(data)
        self._wanted = HEADER_BYTES
        while size - start >= HEADER_BYTES:
            length = int.from_bytes(data[start : start + HEADER_BYTES], "big")
            self._check(length, data, start)
            end = start + HEADER_BYTES + length
            if end > size:
                self._wanted = HEADER_BYTES + length
                break
            bodies.append(data[start + HEADER_BYTES : end])
            start = end
        self._rest = bytearray(data[start:]) if start < size else None
        return bodies

    def _check(self, length: int, data: bytes, start: int) -> None:
        if length > self.limit_bytes:
            shown = data[start : start + 16]
            raise WireError(
                f"frame of {length} bytes, at most {self.limit_bytes} are allowed; "
                f"it begins {shown!r}: is that podway's protocol?"
            )
