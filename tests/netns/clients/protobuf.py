"""Protocol Buffers' wire format, as far as CRI's messages need it: numbers, texts, messages."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

Field: TypeAlias = "int | str | bytes | Message | list[Field]"
Message: TypeAlias = Mapping[int, Field]

_VARINT, _BYTES = 0, 2


def encode(message: Message) -> bytes:
    """Return *message*, a mapping of field numbers to values, as bytes."""
    return b"".join(_encode_field(number, value) for number, value in message.items())


def _encode_field(number: int, value: Field) -> bytes:
    match value:
        case list():
            return b"".join(_encode_field(number, each) for each in value)
        case int():
            return _varint(number << 3 | _VARINT) + _varint(value)
        case str():
            content = value.encode()
        case bytes():
            content = value
        case _:
            content = encode(value)
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of the message in *data*."""
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        value, place = _read_varint(data, place)
        if tag & 7 == _VARINT:
            yield tag >> 3, value
        else:
            assert tag & 7 == _BYTES, "only numbers and byte strings are known"
            yield tag >> 3, data[place : place + value]
            place += value


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, place


def dig(data: bytes, *path: int) -> list[bytes]:
    """Return the byte strings at *path*, field numbers from the outermost message inwards."""
    found = [data]
    for number in path:
        found = [
            value
            for message in found
            for each, value in fields(message)
            if each == number and isinstance(value, bytes)
        ]
    return found
