"""What waits for a busy agent is merged, and nothing of the state gets lost in that."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from podway.model.networks import HostGwConfig, Network
from podway.store.mailbox import Mailbox
from podway.store.protocol import Away, Back, Change, Delta, Snapshot, StoreEvent
from unit.hub.worlds import World, node, take_all

NETWORKS = [Network(pools=(), backend=HostGwConfig(), masquerade=m) for m in (True, False)]


NAMES = st.sampled_from("abcd")
NODES = st.builds(node, NAMES, st.integers(0, 3))
ABOUT_NETWORK = st.sampled_from([(None, ""), (NETWORKS[0], ""), (NETWORKS[1], ""), (None, "bad")])
SNAPSHOTS = st.builds(
    lambda nodes, about: Snapshot(
        revision=0,
        nodes=tuple({n.name: n for n in nodes}.values()),
        network=about[0],
        network_error=about[1],
    ),
    st.lists(NODES, max_size=4),
    ABOUT_NETWORK,
)
CHANGES = st.builds(lambda n, gone: Change(n.name, None if gone else n), NODES, st.booleans())
DELTAS = st.builds(
    lambda changes, about: Delta(
        revision=0, changes=tuple(changes), network=about[0], network_error=about[1]
    ),
    st.lists(CHANGES, max_size=4),
    ABOUT_NETWORK,
)
EVENTS = st.one_of(
    SNAPSHOTS, DELTAS, DELTAS, st.sampled_from([Away("x"), Away("y")]), st.just(Back())
)


def direct(events: list[StoreEvent]) -> World:
    """Hear every event, but for words on the connection that say nothing new."""
    world = World()
    for event in events:
        if not isinstance(event, Back) or world.away:
            world.hear(event)
    return world


@given(st.lists(st.lists(EVENTS, max_size=6), max_size=6))
def test_merged_or_not_the_world_is_the_same(batches: list[list[StoreEvent]]) -> None:
    async def scenario() -> None:
        mailbox, world = Mailbox(), World()
        for batch in batches:
            for event in batch:
                mailbox.put(event)
            taken = await take_all(mailbox)
            assert len(taken) <= 4
            for event in taken:
                world.hear(event)
        assert world.state() == direct([event for batch in batches for event in batch]).state()

    asyncio.run(scenario())


def test_away_for_the_same_reason_is_no_news() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        mailbox.put(Away("refused"))
        assert await take_all(mailbox) == [Away("refused")]
        mailbox.put(Away("refused"))
        assert await take_all(mailbox) == []
        mailbox.put(Away("certificate"))
        assert await take_all(mailbox) == [Away("certificate")]
        mailbox.put(Back())
        mailbox.put(Away("refused"))
        mailbox.put(Back())
        assert await take_all(mailbox) == [Back()]

    asyncio.run(scenario())


def test_back_comes_before_what_is_current_and_away_after_what_was() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        mailbox.put(Away("x"))
        await take_all(mailbox)
        delta = Delta(revision=1, changes=(Change("a", None),))
        mailbox.put(Back())
        mailbox.put(delta)
        assert await take_all(mailbox) == [Back(), delta]
        mailbox.put(delta)
        mailbox.put(Away("y"))
        assert await take_all(mailbox) == [delta, Away("y")]

    asyncio.run(scenario())


def test_a_closed_mailbox_ends_when_it_is_empty() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        delta = Delta(revision=1)
        mailbox.put(delta)
        mailbox.close()
        assert await mailbox.get() == delta
        assert await mailbox.get() is None

    asyncio.run(scenario())
