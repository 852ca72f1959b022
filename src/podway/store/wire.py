"""How what hub and clients say (`frames`) lies in the stream between them, both ways.

::

    0        4
    +--------+---------------------------------+
    | length | msgpack map {"t": type, ...}    |     length: of the map in bytes, big-endian
    +--------+---------------------------------+

Maps, not arrays: a newer side may add keys (ignored) and frames (behind a feature that both named).
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from podway.store.frames import ClientFrame, HubFrame
from podway.store.protocol import StoreError

Frame = TypeVar("Frame")
HEADER_BYTES = 4
# A request holds one net-conf.json at most; an answer one part of a snapshot.
REQUEST_MAX_BYTES = 256 << 10
HELLO_MAX_BYTES = 4096
ANSWER_MAX_BYTES = 4 << 20
# Frames that the hub cuts itself: small enough that a slow client holds up little memory.
PART_BYTES = 8 << 10


class WireError(StoreError):
    """The other side does not speak this protocol, or broke it."""


_encoder = msgspec.msgpack.Encoder()
_client_decoder: msgspec.msgpack.Decoder[ClientFrame] = msgspec.msgpack.Decoder(ClientFrame)
_hub_decoder: msgspec.msgpack.Decoder[HubFrame] = msgspec.msgpack.Decoder(HubFrame)


def encode_frame(frame: ClientFrame | HubFrame) -> bytes:
    """Return *frame* as it goes into the stream, length first."""
    buffer = bytearray(HEADER_BYTES)
    _encoder.encode_into(frame, buffer, HEADER_BYTES)
    buffer[:HEADER_BYTES] = (len(buffer) - HEADER_BYTES).to_bytes(HEADER_BYTES, "big")
    return bytes(buffer)


def decode_client_frame(body: bytes) -> ClientFrame:
    """Return what a client sent. Raises `WireError` when it is no frame of a client."""
    return _decode(_client_decoder, body)


def decode_hub_frame(body: bytes) -> HubFrame:
    """Return what a hub sent. Raises `WireError` when it is no frame of a hub."""
    return _decode(_hub_decoder, body)


def _decode(decoder: msgspec.msgpack.Decoder[Frame], body: bytes) -> Frame:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"frame of {len(body)} bytes cannot be read: {error}") from error


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
