"""What a hub and its clients say to each other. Both sides share this file; `wire` carries it.

The client begins with `Hello`, the hub answers `Welcome` or `Goodbye`. Then the client sends
requests, each with an ``id`` of its choice, and gets one `Done`, `Listing` (in parts) or `Failure`
for each, in order. `Watch` starts the stream: either `SnapshotStart`, `SnapshotPart`s and
`SnapshotEnd` (what changed since the parts were made comes as `Deltas` before the end), or
`Resumed`; then `Deltas` for ever. Both sides send a `Ping` every heartbeat; any frame is a sign of
life. The hub's last word on a connection is a `Goodbye` that says why.

Nodes travel as `podway.store.codec.encode_node` made them, so the hub encodes a node once in its
life; the network travels as its net-conf.json text.
"""

from typing import TypeAlias

from msgspec import Struct

from podway.store.codec import ClaimBody

PROTOCOL_VERSION = 1
FEATURES = ("resume",)

KIND_NODE = "node"
KIND_RESERVATION = "reservation"
KIND_CONFIG = "config"
NETWORK_NAME = "network"


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
