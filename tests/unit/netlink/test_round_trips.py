"""Every table: what is encoded comes back, and no bytes whatever do worse than a DecodeError."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.netlink.errors import DecodeError
from podway.netlink.refusals import locate
from podway.netlink.wire import decode_ack, encode_message, iter_frames
from unit.netlink.message_strategies import SCHEMAS, fields, messages

SOME_SCHEMA = st.sampled_from(sorted(SCHEMAS))


@pytest.mark.parametrize("name", SCHEMAS)
@given(data=st.data())
def test_a_message_survives_the_wire(name: str, data: st.DataObject) -> None:
    schema = SCHEMAS[name]
    message = data.draw(messages(schema))
    encoded = schema.encode(message)
    assert len(encoded) % 4 == 0
    assert schema.decode(encoded, 0, len(encoded)) == message


@given(data=st.data())
def test_a_message_may_stand_anywhere_in_a_datagram(data: st.DataObject) -> None:
    schema = SCHEMAS[data.draw(SOME_SCHEMA)]
    message = data.draw(messages(schema))
    encoded = schema.encode(message)
    datagram = encode_message(16, 0, 1, b"\0" * 8) + encode_message(16, 0, 2, encoded)
    *_, (_, _, _, _, start, stop) = iter_frames(datagram)
    assert schema.decode(datagram, start, stop) == message


@pytest.mark.parametrize("name", SCHEMAS)
@given(data=st.data())
def test_every_field_is_found_by_its_offset(name: str, data: st.DataObject) -> None:
    table = SCHEMAS[name].attributes
    given_fields = data.draw(fields(table))
    encoded = table.encode(given_fields)
    before: dict[str, Any] = {}
    for field, value in given_fields.items():
        offset = len(table.encode(before))
        assert locate(table, encoded, 0, len(encoded), offset).split(".")[0] == field
        before[field] = value


@given(name=SOME_SCHEMA, garbage=st.binary(max_size=300))
def test_garbage_is_decoded_or_refused(name: str, garbage: bytes) -> None:
    try:
        decoded = SCHEMAS[name].decode(garbage, 0, len(garbage))
    except DecodeError:
        return
    assert isinstance(decoded, dict)


@given(data=st.data())
def test_a_damaged_message_is_decoded_or_refused(data: st.DataObject) -> None:
    schema = SCHEMAS[data.draw(SOME_SCHEMA)]
    encoded = bytearray(schema.encode(data.draw(messages(schema))))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    try:
        decoded = schema.decode(damaged, 0, len(damaged))
    except DecodeError:
        return
    assert isinstance(decoded, dict)


@given(data=st.data())
def test_a_truncated_message_never_gains_a_field(data: st.DataObject) -> None:
    schema = SCHEMAS[data.draw(SOME_SCHEMA)]
    message = data.draw(messages(schema))
    encoded = schema.encode(message)
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    try:
        decoded = schema.decode(cut, 0, len(cut))
    except DecodeError:
        return
    assert decoded.keys() <= message.keys()


@given(garbage=st.binary(max_size=200))
def test_a_datagram_of_garbage_is_cut_or_refused(garbage: bytes) -> None:
    try:
        frames = list(iter_frames(garbage))
    except DecodeError:
        return
    assert all(0 <= start <= stop <= len(garbage) for *_, start, stop in frames)


@given(kind=st.sampled_from([2, 3]), flags=st.integers(0, 0xFFFF), payload=st.binary(max_size=120))
def test_an_acknowledgement_of_garbage_is_read_or_refused(
    kind: int, flags: int, payload: bytes
) -> None:
    data = encode_message(kind, flags, 1, payload)
    (frame,) = iter_frames(data)
    try:
        ack = decode_ack(data, frame)
    except DecodeError:
        return
    assert isinstance(ack.reason, str)
