"""Frames in a stream: cut right wherever the stream is cut, bounded, and read back as sent."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.store import frames, wire
from podway.store.codec import ClaimBody
from podway.store.refusals import Code, code_of, error_of
from podway.store.wire import FrameSplitter, WireError

CLIENT_FRAMES = [
    frames.Hello(1, ("resume",), "n"),
    frames.Ping(),
    frames.ClaimLease(id=1, claim=ClaimBody(name="n", backend="vxlan", wishes=(), ttl_s=1)),
    frames.RenewLease(id=2, name="n"),
    frames.ReleaseLease(id=3, name="n"),
    frames.Reserve(id=4, name="n", subnets=("10.9.1.0/24",)),
    frames.Put(id=5, kind="k", name="n", value=b"\0\xff", expected=0, force=True),
    frames.Get(id=6, kind="k", name="n"),
    frames.Delete(id=7, kind="k", name="n", expected=3),
    frames.List(id=8, kind="k"),
    frames.Watch(id=9, store_id="s", revision=1 << 40),
]
HUB_FRAMES = [
    frames.Welcome(version=1, features=(), store_id="s", heartbeat_s=1.5, role="n"),
    frames.Ping(),
    frames.Done(id=1, revision=2, value=b"v"),
    frames.Listing(id=2, items=(frames.Item(name="n", revision=1, value=b""),), more=True),
    frames.Failure(id=3, code="conflict", message="no"),
    frames.SnapshotStart(revision=4, network="{}"),
    frames.SnapshotPart(nodes=(b"a", b"b")),
    frames.SnapshotEnd(revision=4),
    frames.Resumed(revision=4),
    frames.Deltas(revision=5, changes=(frames.Changed("a", None), frames.Changed("b", b"b"))),
    frames.Goodbye(code="slow", message="too slow"),
]


@pytest.mark.parametrize("frame", CLIENT_FRAMES, ids=lambda frame: type(frame).__name__)
def test_client_frames_there_and_back(frame: frames.ClientFrame) -> None:
    (body,) = FrameSplitter(1000).feed(wire.encode_frame(frame))
    assert wire.decode_client_frame(body) == frame


@pytest.mark.parametrize("frame", HUB_FRAMES, ids=lambda frame: type(frame).__name__)
def test_hub_frames_there_and_back(frame: frames.HubFrame) -> None:
    (body,) = FrameSplitter(1000).feed(wire.encode_frame(frame))
    assert wire.decode_hub_frame(body) == frame


def test_no_frame_was_forgotten_above() -> None:
    assert {type(frame) for frame in CLIENT_FRAMES} == set(frames.ClientFrame.__args__)
    assert {type(frame) for frame in HUB_FRAMES} == set(frames.HubFrame.__args__)


@given(st.binary(max_size=60))
def test_noise_is_refused(noise: bytes) -> None:
    for decode in (wire.decode_client_frame, wire.decode_hub_frame):
        try:
            decode(noise)
        except WireError:
            continue


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=20))
def test_the_stream_may_be_cut_anywhere(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = FrameSplitter(40)
    seen: list[bytes] = []
    for start, end in pairwise(places):
        seen += splitter.feed(stream[start:end])
    assert seen == bodies
    assert not splitter.unfinished


def test_an_unfinished_frame_is_known_as_such() -> None:
    splitter = FrameSplitter(10)
    assert not splitter.feed(b"\0\0")
    assert splitter.unfinished
    assert splitter.feed(b"\0\x01x\0") == [b"x"]
    assert splitter.unfinished


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0\0\0\x0b", id="one byte too long"),
        pytest.param(b"\xff\xff\xff\xff", id="longest"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\0", id="TLS"),
    ],
)
def test_a_frame_that_is_too_long_is_refused_before_it_comes(data: bytes) -> None:
    with pytest.raises(WireError):
        FrameSplitter(10).feed(data)


def test_every_code_that_is_an_error_comes_back_as_that_error() -> None:
    known = 0
    for code in Code:
        error = error_of(code, "text")
        assert str(error) == "text"
        known += code_of(error) is code
    assert known >= 7
    assert str(error_of("code of a newer hub", "text")) == "text"
