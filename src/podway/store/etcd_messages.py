"""Messages of etcd's v3 API, as its JSON gateway writes them (etcd, api/etcdserverpb/rpc.proto).

Protocol buffers in JSON: bytes are base64, 64-bit numbers are strings, and what is zero is left
out, so every field here has a default. Requests carry numbers as numbers, which the gateway takes.
Only fields that podway uses are named; the rest is passed over.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct, field

T = TypeVar("T")


class Header(Struct, frozen=True):
    """Of every answer; *revision* is the store's when it answered."""

    cluster_id: str = ""
    revision: int = 0
    raft_term: int = 0


class KeyValue(Struct, frozen=True, kw_only=True):
    """One key: *mod_revision* of its last change, *lease* 0 where it has none."""

    key: bytes = b""
    mod_revision: int = 0
    value: bytes = b""
    lease: int = 0


class RangeRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Read *key*, or all keys from it up to *range_end*; linearizable."""

    key: bytes
    range_end: bytes = b""
    count_only: bool = False


class RangeResponse(Struct, frozen=True, kw_only=True):
    """What was read."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()


class PutRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Write *value*; *lease* 0 for good."""

    key: bytes
    value: bytes
    lease: int = 0


class DeleteRequest(Struct, frozen=True, kw_only=True):
    """Remove *key*; no error when it is not there."""

    key: bytes


class Compare(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A condition on *key*, or on all keys from it up to *range_end*.

    A key that is not there has version and revision 0. For a range it must hold for every key.
    """

    key: bytes
    range_end: bytes = b""
    target: Literal["VERSION", "MOD"]
    result: Literal["EQUAL", "LESS"]
    version: int | None = None
    mod_revision: int | None = None


class RequestOp(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a transaction: exactly one of these."""

    request_range: RangeRequest | None = None
    request_put: PutRequest | None = None
    request_delete_range: DeleteRequest | None = None


class TxnRequest(Struct, frozen=True, kw_only=True):
    """If all of *compare* holds do *success*, else *failure*; nobody sees it half done."""

    compare: Sequence[Compare] = ()
    success: Sequence[RequestOp] = ()
    failure: Sequence[RequestOp] = ()


class ResponseOp(Struct, frozen=True, kw_only=True):
    """What one step gave, for those that read."""

    response_range: RangeResponse | None = None


class TxnResponse(Struct, frozen=True, kw_only=True):
    """Which branch was taken, and what it read."""

    header: Header = Header()
    succeeded: bool = False
    responses: tuple[ResponseOp, ...] = ()


class GrantRequest(Struct, frozen=True):
    """Make a lease."""

    TTL: int


class LeaseRequest(Struct, frozen=True):
    """Of one lease: keep it alive, end it, ask for its time."""

    ID: int


class LeaseResponse(Struct, frozen=True, kw_only=True):
    """A lease: seconds that it lives, 0 or less when it is gone; *granted_s* as it was granted."""

    ID: int = 0
    TTL: int = 0
    granted_s: int = field(default=0, name="grantedTTL")


class AuthenticateRequest(Struct, frozen=True):
    """Log in."""

    name: str
    password: str


class AuthenticateResponse(Struct, frozen=True):
    """The token for further requests."""

    token: str = ""


class WatchCreate(Struct, frozen=True, kw_only=True):
    """Tell of changes in a range, from *start_revision* on; of nothing new now and then, too."""

    key: bytes
    range_end: bytes
    start_revision: int
    progress_notify: bool = True


class WatchRequest(Struct, frozen=True):
    """Start a watch."""

    create_request: WatchCreate


class Event(Struct, frozen=True, kw_only=True):
    """A key was put or deleted; of a deleted one only key and revision are told."""

    type: Literal["PUT", "DELETE"] = "PUT"
    kv: KeyValue = KeyValue()


class WatchResponse(Struct, frozen=True, kw_only=True):
    """News of a watch; *compact_revision* is set when what it asks for is gone."""

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: tuple[Event, ...] = ()


class Fault(Struct, frozen=True, kw_only=True):
    """A refusal; *code* (in a stream *grpc_code*) is gRPC's."""

    code: int = 0
    grpc_code: int = 0
    message: str = ""
    error: str = ""


class Streamed(Struct, frozen=True):
    """One line of a stream, before it is known what it answers; a refusal of the stream, too."""

    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: Fault | None = None


def encode(request: Struct) -> bytes:
    """Return *request* as JSON."""
    return msgspec.json.encode(request)


def decode(kind: type[T], text: bytes | msgspec.Raw) -> T:
    """Return *text* as a *kind*. Raises msgspec.DecodeError (ValidationError is one)."""
    try:
        return msgspec.json.decode(text, type=kind, strict=False)
    except (UnicodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def prefix_end(prefix: bytes) -> bytes:
    """Return the first key after all that begin with *prefix* (which ends with no 0xff)."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
