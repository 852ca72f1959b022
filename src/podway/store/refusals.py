"""Why a hub says no, as errors on both sides of the wire.

Beside the `StoreError`s that every engine knows, those that only an administrator meets. Each
travels as a code and its text; codes are for programs, texts for people.
"""

from enum import StrEnum

from podway.store.protocol import ClaimRefused, LeaseLost, StoreAway, StoreError


class Code(StrEnum):
    """What kind of no, on the wire."""

    REFUSED = "refused"
    LEASE_LOST = "lease-lost"
    CONFLICT = "conflict"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    STORAGE = "storage"
    AWAY = "away"
    SLOW = "slow"
    PROTOCOL = "protocol"
    BUSY = "busy"
    STOPPING = "stopping"


class Conflict(StoreError):  # noqa: N818  (as HTTP calls it)
    """The object is at another revision than the caller thought: read it and decide anew."""


class NotAllowed(StoreError):  # noqa: N818  (an answer, not an accident)
    """This client may not do that; its certificate or user says so."""


class ValueRefused(StoreError):  # noqa: N818  (likewise)
    """The value breaks a rule, or would break leases that live; nothing was changed."""


class StorageFailed(StoreError):  # noqa: N818  (likewise)
    """The hub cannot write (disk full or broken); it did not acknowledge, and keeps running."""


_ERRORS: dict[Code, type[StoreError]] = {
    Code.REFUSED: ClaimRefused,
    Code.LEASE_LOST: LeaseLost,
    Code.CONFLICT: Conflict,
    Code.FORBIDDEN: NotAllowed,
    Code.INVALID: ValueRefused,
    Code.STORAGE: StorageFailed,
    Code.AWAY: StoreAway,
}
_CODES = {error: code for code, error in _ERRORS.items()}


def code_of(error: StoreError) -> Code:
    """Return the code under which *error* travels."""
    return _CODES.get(type(error), Code.INVALID)


def error_of(code: str, message: str) -> StoreError:
    """Return the error that travelled as *code*; one of a newer hub is a plain `StoreError`."""
    known = _ERRORS.get(Code(code)) if code in set(Code) else None
    return (known or StoreError)(message)
