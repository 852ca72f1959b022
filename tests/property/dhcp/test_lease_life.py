"""Whatever servers say and however late the daemon wakes: what holds for every lease.

A lease lives here in virtual time, between a client that is the machine alone and a server that
answers, keeps silent, refuses, or talks nonsense, as Hypothesis has it.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from podway.dhcp.machine import step
from podway.dhcp.packets import REPLY, Kind, Message, decode_message, encode_message
from podway.dhcp.states import (
    ENDS,
    Action,
    Began,
    Bound,
    Claimed,
    Context,
    Dice,
    Ended,
    Failed,
    Heard,
    Identity,
    Lost,
    Patience,
    Phase,
    Rebooted,
    Send,
    State,
    Woke,
)

IDENTITY = Identity(mac=bytes(5) + b"\1", client_id=b"\0c", requested=(3, 1), provided={})
SERVERS = [IPv4Address("10.1.0.1").packed, IPv4Address("10.1.0.2").packed]
ADDRESSES = [IPv4Address("10.1.0.50"), IPv4Address("10.1.0.51"), IPv4Address("0.0.0.0")]


@dataclass(frozen=True)
class Answer:
    """What the server does about one message.

    Attributes:
        delay_s: None for nothing.
        kind: of its message, None for the right one.
    """

    delay_s: float | None
    kind: Kind | None
    address: IPv4Address
    options: dict[int, bytes] = field(default_factory=dict)


TIMES = st.sampled_from([0, 1, 2, 10, 120, 3600, 0xFFFFFFFE, 0xFFFFFFFF])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        51: TIMES.map(lambda number: number.to_bytes(4, "big")),
        58: TIMES.map(lambda number: number.to_bytes(4, "big")),
        59: TIMES.map(lambda number: number.to_bytes(4, "big")),
        54: st.sampled_from([*SERVERS, b"", b"\0\0\0\0"]),
        1: st.sampled_from([b"\xff\xff\xff\0", b"", b"\xff\0\xff\0"]),
        56: st.binary(max_size=20),
    },
)
ANSWERS = st.builds(
    Answer,
    delay_s=st.one_of(st.none(), st.floats(0, 3)),
    kind=st.sampled_from([None, Kind.OFFER, Kind.ACK, Kind.NAK, Kind.RELEASE]),
    address=st.sampled_from(ADDRESSES),
    options=OPTIONS,
) | st.just(Answer(0.1, None, ADDRESSES[0]))
USUAL = {
    51: (120).to_bytes(4, "big"),
    54: SERVERS[0],
    1: b"\xff\xff\xff\0",
}


class Life:
    """One client, its clock, and what it did."""

    def __init__(self, state: State, jitter: float) -> None:
        self.state = state
        self.now_s = 0.0
        self.jitter = jitter
        self.actions: list[Action] = []
        self.xid = 0

    def happen(self, event: object) -> tuple[Action, ...]:
        self.xid += 1
        dice = Dice(xid=self.xid, jitter=self.jitter)
        before = self.state
        context = Context(IDENTITY, Patience(), self.now_s, dice)
        self.state, actions = step(before, event, context)  # type: ignore[arg-type]
        self.actions += actions
        self.check(before, actions)
        return actions

    def check(self, before: State, actions: tuple[Action, ...]) -> None:
        """See that what holds for every step holds for this one."""
        state = self.state
        if before.lease is not None and state.lease is not None:
            assert state.lease.address == before.lease.address
        if state.phase is Phase.BOUND:
            assert state.lease is not None
            assert state.wake_s == state.lease.renewal_s
        if state.phase in ENDS:
            assert state.wake_s == inf
        elif state.lease is not None:
            # Nobody sleeps beyond the end of the lease.
            assert state.wake_s <= state.lease.expiry_s
        elif state.phase is Phase.PROBING:
            # It is seen to its end, whatever else ends meanwhile.
            assert state.candidate is not None
            assert state.wake_s <= self.now_s + 0.2
        else:
            assert state.wake_s <= max(state.begun_s + 208, self.now_s)
        for action in actions:
            if isinstance(action, Send):
                assert decode_message(encode_message(action.message)) == action.message

    def answer(self, sent: Send, answer: Answer) -> None:
        if answer.delay_s is None or sent.message.kind in {Kind.RELEASE, Kind.DECLINE}:
            return
        # Who answers late is heard late, but not before the client's own next step.
        self.now_s = min(self.now_s + answer.delay_s, max(self.state.wake_s, self.now_s))
        right = Kind.OFFER if sent.message.kind is Kind.DISCOVER else Kind.ACK
        message = Message(
            op=REPLY,
            kind=answer.kind or right,
            xid=sent.message.xid,
            mac=IDENTITY.mac,
            yiaddr=answer.address,
            options={**USUAL, **answer.options},
        )
        self.happen(Heard(message, b"\2" * 6))

    def of(self, kind: type[Action]) -> list[Action]:
        return [action for action in self.actions if isinstance(action, kind)]


@given(
    answers=st.lists(ANSWERS, max_size=40),
    lateness=st.lists(st.floats(0, 5000), max_size=40),
    claims=st.sets(st.integers(0, 60), max_size=10),
    jitter=st.floats(-1, 1),
    end=st.booleans(),
)
def test_every_life(
    answers: list[Answer],
    lateness: list[float],
    claims: set[int],
    jitter: float,
    end: bool,  # noqa: FBT001
) -> None:
    life = Life(State(), jitter)
    waiting = [action for action in life.happen(Began()) if isinstance(action, Send)]
    for answer in answers:
        if waiting:
            before = len(life.actions)
            life.answer(waiting.pop(), answer)
            waiting = [each for each in life.actions[before:] if isinstance(each, Send)]
        if waiting:
            continue
        if life.state.wake_s == inf:
            break
        if life.xid in claims:
            waiting = [each for each in life.happen(Claimed(b"\3" * 6)) if isinstance(each, Send)]
            continue
        life.now_s = max(life.now_s, life.state.wake_s) + (lateness.pop() if lateness else 0.0)
        waiting = [each for each in life.happen(Woke()) if isinstance(each, Send)]
    assert len(life.of(Lost)) + len(life.of(Failed)) <= 1
    assert not (life.of(Failed) and life.of(Bound))
    if life.of(Lost):
        assert life.state.phase is Phase.EXPIRED
    if end:
        lease = life.state.lease or life.state.candidate
        alive = life.state.phase not in ENDS and lease is not None and life.now_s < lease.expiry_s
        released = life.happen(Ended())
        assert [isinstance(each, Send) for each in released] == [True] * alive


@given(jitter=st.floats(-1, 1), reboots=st.booleans())
def test_without_a_server_every_life_ends_and_few_messages_are_sent(
    jitter: float,
    reboots: bool,  # noqa: FBT001
) -> None:
    life = Life(State(), jitter)
    (discover,) = life.happen(Began())
    if reboots:
        assert isinstance(discover, Send)
        life.answer(discover, Answer(0.0, Kind.OFFER, ADDRESSES[0]))
        (request,) = life.of(Send)[1:]
        assert isinstance(request, Send)
        life.answer(request, Answer(0.0, Kind.ACK, ADDRESSES[0]))
        while life.state.phase is Phase.PROBING:
            life.now_s = life.state.wake_s
            life.happen(Woke())
        life.state = State(lease=life.state.lease)
        life.happen(Rebooted())
    while life.state.wake_s < inf:
        life.now_s = life.state.wake_s
        life.happen(Woke())
    assert life.state.phase is (Phase.EXPIRED if reboots else Phase.FAILED)
    assert len(life.of(Send)) <= 30


@given(losses=st.lists(st.booleans(), max_size=6), jitter=st.floats(-1, 1))
def test_a_server_that_answers_in_the_end_is_heard(losses: list[bool], jitter: float) -> None:
    life = Life(State(), jitter)
    waiting = list(life.happen(Began()))
    for lost in [*losses, *[False] * 8]:
        sent = waiting[-1] if waiting else None
        if isinstance(sent, Send) and not lost:
            kind = Kind.OFFER if sent.message.kind is Kind.DISCOVER else Kind.ACK
            before = len(life.actions)
            life.answer(sent, Answer(0.0, kind, ADDRESSES[0]))
            waiting = list(life.actions[before:])
        if life.state.phase is Phase.BOUND:
            return
        if lost or not any(isinstance(each, Send) for each in waiting):
            life.now_s = life.state.wake_s
            waiting = list(life.happen(Woke()))
    assert life.state.phase is Phase.BOUND
