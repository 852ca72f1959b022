"""Tracker and kernel together: whatever happens in between, in the end what is wanted is there.

A machine wants, applies, tampers, breaks and listens in any order, as the agent and other programs
do; the kernel is the fake one, which follows the real one's rules. Whenever it stops, all that can
be had is there, nothing of ours is left over, and nothing of anybody else's was ever deleted.
"""

import contextlib
import errno
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from podway.diff.claims import Source
from podway.diff.compare import Difference, compare
from podway.diff.operations import Operation, Verb
from podway.diff.order import device_of
from podway.diff.tracker import Tracker
from podway.kernel.fake import FakeKernel
from podway.kernel.protocol import DeviceChanged, KernelError, Overrun, Seen
from podway.model.kernel import (
    ALIAS_PREFIX,
    ROUTE_PROTOCOL,
    KernelObject,
    Key,
    Link,
    Route,
    Rule,
    link_key,
)
from property.objects import FINDINGS, KEYS, NETNS, SOURCES, UPLINK, parts

OUR_DEVICES = ["podway.1", "cni0", "pw1"]
# More rounds than anything that hangs on something else that hangs on something else needs.
ROUNDS = 5


def is_foreign(item: KernelObject | None) -> bool:
    match item:
        case Link(alias=alias):
            return not alias.startswith(ALIAS_PREFIX)
        case Route(protocol=protocol) | Rule(protocol=protocol):
            return protocol != ROUTE_PROTOCOL
        case _:
            return False


def needs(item: KernelObject) -> set[str]:
    """Return the devices, other than itself, without which *item* cannot be."""
    if isinstance(item, Link):
        return {item.master} - {""}
    return {device_of(item)} - {"", UPLINK}


class ConvergenceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = FakeKernel()
        self.kernel.add_device(UPLINK, addresses=("192.0.2.1/24", "192.0.2.9/24"))
        self.kernel.create_netns(NETNS)
        self.tracker = Tracker()
        self.ever_wanted: set[Key] = set()

    @initialize(found=st.lists(st.sampled_from(FINDINGS), max_size=10))
    def start(self, found: Sequence[KernelObject]) -> None:
        """The kernel holds what an earlier agent and other programs left there."""
        for item in sorted(found, key=lambda item: not isinstance(item, Link)):
            self.tamper_set(item)
        self.kernel.drain()
        self.read_all()

    # --- what the agent does --------------------------------------------------------------------

    @rule(source=st.sampled_from(SOURCES), part=parts)
    def desire(self, source: Source, part: Sequence[KernelObject]) -> None:
        before = set(self.tracker.wanted())
        self.tracker.desire(source, part)
        wanted = {item.key for item in part}
        self.ever_wanted |= wanted
        if any(key.kind == "link" for key in wanted - before):
            # Somebody's device may bear that name, with things on it that nobody has read so far.
            self.read_all()

    @rule(
        refusals=st.lists(
            st.tuples(
                st.sampled_from([Verb.CREATE, Verb.CHANGE, Verb.DELETE]),
                st.sampled_from(sorted({key.kind for key in KEYS})),
            ),
            max_size=3,
        )
    )
    def reconcile(self, refusals: Sequence[tuple[Verb, str]]) -> None:
        self.listen()
        for verb, kind in refusals:
            self.kernel.fail_next(verb, kind, errno.EBUSY)
        self.apply(self.tracker.plan())

    @rule()
    def retry(self) -> None:
        self.tracker.retry()

    @rule()
    def listen(self) -> None:
        """As `podway.agent`: what changed is taken in, a device that changed is read."""
        changed: set[str] = set()
        for event in self.kernel.drain():
            match event:
                case Seen(key, found):
                    self.tracker.observe(key, found)
                case DeviceChanged(dev):
                    changed.add(dev)
                case Overrun():
                    self.read_all()
                case _:
                    pass
        for dev in sorted(changed):
            self.read_device(dev)

    def read_device(self, dev: str) -> None:
        state = self.kernel.read_dev(dev, self.tracker.wanted_on(dev))
        self.tracker.observe_device(dev, state)

    @rule()
    def read_all(self) -> None:
        self.tracker.observe_all(self.kernel.read(list(self.tracker.wanted())))

    @precondition(lambda self: not self.tracker.sweeping)
    @rule()
    def complete_the_first_list(self) -> None:
        self.tracker.sweeping = True

    def apply(self, operations: list[Operation]) -> None:
        self.check_deletions(operations)
        results = self.kernel.apply(operations)
        for operation, error in zip(operations, results, strict=True):
            self.tracker.record(operation, error, now=0.0)
            if is_foreign(operation.observed) and operation.key.kind == "link":
                # What stands on a device that was taken over is ours from now on.
                self.read_device(str(operation.key.parts[0]))

    def check_deletions(self, operations: list[Operation]) -> None:
        remade = {op.key for op in operations if op.verb is Verb.CREATE and op.key.kind == "link"}
        for operation in operations:
            if operation.verb is Verb.DELETE:
                key = operation.key
                assert not is_foreign(self.kernel.stack.find(key))
                assert self.tracker.sweeping or key in self.ever_wanted or key in remade

    # --- what other programs do -----------------------------------------------------------------

    @rule(item=st.sampled_from(FINDINGS))
    def tamper_set(self, item: KernelObject) -> None:
        with contextlib.suppress(KernelError):
            self.kernel.tamper_set(item)

    @rule(key=st.sampled_from(KEYS))
    def tamper_delete(self, key: Key) -> None:
        self.kernel.tamper_delete(key)

    @rule(dev=st.sampled_from(OUR_DEVICES))
    def tamper_link_down(self, dev: str) -> None:
        if link_key(dev) in self.kernel.stack.objects:
            self.kernel.tamper_link_down(dev)

    @rule()
    def overrun(self) -> None:
        self.kernel.overrun()

    # --- in the end -----------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            self.converge()
            self.check_wanted()
            self.check_stale()
            self.check_settled()
        finally:
            self.kernel.close()

    def converge(self) -> None:
        self.tracker.sweeping = True
        # Arranged refusals that nothing has met so far are over.
        self.kernel._failures.clear()
        for _ in range(ROUNDS):
            self.listen()
            # Sysctls change without a word; the agent looks at them now and then.
            for seen in self.kernel.check_sysctls(list(self.tracker.wanted())):
                self.tracker.observe(seen.key, seen.found)
            self.tracker.retry()
            self.apply(self.tracker.plan())
        self.listen()

    def check_wanted(self) -> None:
        """All that is wanted is there, but for what cannot be; and that has failed visibly."""
        missing = {key for key in self.tracker.wanted() if not self.is_there(key)}
        failed = self.tracker.failures.keys()
        assert missing <= failed
        assert {key for key in failed if self.tracker.desired(key) is not None} <= missing
        unwanted = {dev for dev in OUR_DEVICES if self.tracker.desired(link_key(dev)) is None}
        blocked = unwanted | {str(key.parts[0]) for key in missing if key.kind == "link"}
        for key in missing:
            desired = self.tracker.desired(key)
            assert desired is not None
            in_the_way = key.kind == "link" and is_foreign(self.kernel.stack.find(key))
            assert in_the_way or needs(desired) & blocked

    def is_there(self, key: Key) -> bool:
        desired, found = self.tracker.desired(key), self.kernel.stack.find(key)
        if desired is None or found is None:
            return False
        return compare(desired, found) is Difference.NONE

    def check_stale(self) -> None:
        """Nothing of ours is there that nobody wants."""
        wanted = set(self.tracker.wanted())
        assert set(self.kernel.read(())) <= wanted

    def check_settled(self) -> None:
        """The tracker knows what is there, and a new one would have no more to do."""
        assert self.tracker.plan() == []
        state = self.kernel.read(list(self.tracker.wanted()))
        failed = self.tracker.failures.keys()
        assert {operation.key for operation in self.tracker.preview(state)} <= failed
        # Somebody's device that was there before we wanted its name is noticed by the refusal.
        for key in (state.keys() | set(self.tracker.wanted())) - failed:
            known, found = self.tracker.observed(key), state.get(key)
            assert known is not None
            assert found is not None
            assert compare(known, found) is Difference.NONE


TestConvergence = ConvergenceMachine.TestCase
TestConvergence.settings = settings(max_examples=120, stateful_step_count=30)
