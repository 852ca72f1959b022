"""What etcd says in place of an answer: which of it may pass, and which is a no.

In: the body of an answer that is no 200, or an error inside of a stream. Out: the `StoreError` that
it means. A gateway's error is gRPC's code and message as JSON; what is none of it comes from
somebody else, a proxy or a program that is no etcd, and gets words that help to find out.
"""

from enum import IntEnum
from http import HTTPStatus
from typing import TypeVar

import msgspec

from podway.store.etcd_messages import Fault, Streamed, decode
from podway.store.protocol import StoreAway, StoreError
from podway.store.refusals import NotAllowed, StorageFailed

T = TypeVar("T")


class GrpcCode(IntEnum):
    """What kind of no (google.golang.org/grpc/codes)."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNAUTHENTICATED = 16


class EtcdRefused(StoreError):  # noqa: N818  (an answer, not an accident)
    """etcd says no; *code* is one of `GrpcCode`, or another number of gRPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def error_of(who: str, fault: Fault) -> StoreError:
    """Return what *fault* means: away for what may pass, else why not."""
    code = fault.code or fault.grpc_code
    text = f"{who}: {fault.message or fault.error}"
    match code:
        case GrpcCode.PERMISSION_DENIED:
            return NotAllowed(text)
        case GrpcCode.RESOURCE_EXHAUSTED:
            return StorageFailed(text)
        case (
            GrpcCode.INVALID_ARGUMENT
            | GrpcCode.NOT_FOUND
            | GrpcCode.FAILED_PRECONDITION
            | GrpcCode.OUT_OF_RANGE
            | GrpcCode.UNAUTHENTICATED
        ):
            return EtcdRefused(code, text)
        case _:  # no leader, leader changed, timed out, too many requests, going down
            return StoreAway(text)


def fault_in(body: bytes) -> Fault | None:
    """Return the refusal in *body*, of a call or, one level deeper, of a stream; None without."""
    fault = _attempt(Fault, body)
    if fault is None:
        streamed = _attempt(Streamed, body)
        fault = streamed.error if streamed is not None else None
    return fault if fault is not None and (fault.code or fault.grpc_code) else None


def describe_stranger(status: int, body: bytes) -> str:
    """Return what may have answered with *status* and *body*, and what to do about it."""
    if status == HTTPStatus.BAD_REQUEST and b"CommonName" in body:  # etcd's embed/serve.go
        return (
            "an etcd with users takes no client certificate with a common name through its JSON "
            "gateway: use one without (openssl req -subj /O=podway)"
        )
    said = body[:60].decode("utf-8", "replace").strip()
    return (
        f"HTTP status {status} {said!r}: is that etcd, and its JSON gateway on "
        "(--enable-grpc-gateway)?"
    )


def asks_for_login(error: StoreError) -> bool:
    """Tell whether *error* may be about the token, not about the request."""
    codes = {GrpcCode.UNAUTHENTICATED, GrpcCode.INVALID_ARGUMENT}
    return isinstance(error, EtcdRefused) and error.code in codes


def _attempt(kind: type[T], body: bytes) -> T | None:
    try:
        return decode(kind, body)
    except msgspec.DecodeError:
        return None
