"""The loop: what the store, the kernel and the runtime say becomes marks; marks become one pass.

A pass computes what is dirty, reads what may have changed in the kernel (`lookout`), asks the
tracker for the operations that are left, and has them carried out (`reconciler`), until nothing is
left to do. All decisions are made on the event loop's thread; everything that blocks on the kernel
is done by one other thread, one thing at a time (`kernel_thread`).

Nothing is swept before the store's first complete list. While no place can be computed (the network
was removed, or has another backend for which no lease is granted yet) the node keeps the last one,
so that what works goes on working and pods come and go. Whoever waits for a pass gets an answer or
an error, whatever happens to the pass and to the agent.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from podway.agent.claims import Claims
from podway.agent.cluster import Cluster
from podway.agent.desires import Desires
from podway.agent.endpoints import Endpoints, namespace_identity
from podway.agent.forward import Chain, ForwardKeeper
from podway.agent.ipam import Ipam
from podway.agent.kernel_thread import KernelThread
from podway.agent.leases import LeaseKeeper
from podway.agent.ledger import Ledger
from podway.agent.lookout import Lookout
from podway.agent.memory import Memory
from podway.agent.metrics import Metrics
from podway.agent.own_node import OwnNode
from podway.agent.programs import FirstProgram, Programs
from podway.agent.reconciler import Done, Reconciler
from podway.agent.remarks import tell_some
from podway.agent.settings import Settings
from podway.agent.settling import NO_PLACE, Settling
from podway.agent.store_watch import StoreWatch
from podway.agent.subnet_env import SubnetFile
from podway.agent.takeover import TakeOver
from podway.agent.waiters import Unsettled
from podway.diff.operations import Operation
from podway.diff.tracker import Tracker
from podway.kernel.checksum_errors import ChecksumErrors
from podway.kernel.logs import get_log
from podway.kernel.protocol import Kernel
from podway.model.nodes import Claim, Node, Uplink
from podway.store.protocol import Store

T = TypeVar("T")

# WireGuard tells nobody when its peers are changed.
TUNNEL_POLL_S = 3.0
# Who waits for the subnet file must not wait long when somebody has removed it.
SUBNET_FILE_POLL_S = 2.0


class Agent:
    """One node's agent.

    Args:
        settings: of the operator.
        store: the cluster's store.
        ledger: what this node remembers.
        open_kernel: opens the kernel; called in the kernel's thread.
        take_over: takes over from a flanneld; None: nothing is to be taken over.
        forward: its chain in iptables' FORWARD; None: there shall be none.

    Attributes:
        reconciled: a pass has brought the whole desired state into the kernel once.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        open_kernel: Callable[[], Kernel],
        metrics: Metrics,
        *,
        take_over: TakeOver | None = None,
        forward: Chain | None = None,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.log = log = get_log("podway.agent")
        self.reconciled = False
        self.checksum_errors = ChecksumErrors()
        self._store = store
        self._take_over = take_over
        self._kernel: Kernel | None = None
        self._wake = asyncio.Event()
        self._passed = asyncio.Event()

        # What is known.
        self._memory = memory = Memory(ledger, log)
        self.cluster = Cluster()
        self.endpoints = Endpoints()
        self.ipam = Ipam(ledger, settings.cooldown_s)
        self.tracker = Tracker(settings.names.marks)

        # Who looks, and who acts.
        self._thread = KernelThread(open_kernel)
        self.lookout = Lookout(settings.uplink_choice, self.tracker, self._thread, self.wake, log)
        self.node = OwnNode(
            settings, self.cluster, self.endpoints, self.ipam, self.lookout, memory, log
        )
        self.leases = LeaseKeeper(
            store, self._wanted_claim, self._granted, settings.lease_ttl_s, log
        )
        self.watch = StoreWatch(
            *(store, self.cluster, memory, self.leases, lambda: self.node.me),
            *(settings.store_grace_s, self.wake, log),
        )
        self.programs = Programs(ledger, log)
        self.desires = Desires(settings.node, self.tracker, self.programs, settings.names)
        self.settling = Settling(self.desires, self.endpoints, self.tracker, self.wake)
        self.reconciler = Reconciler(
            self.tracker, self._thread, self.lookout, self.endpoints, metrics, log
        )
        self.forward = ForwardKeeper(forward, self._thread, self.lookout, log)
        self.subnet_file = SubnetFile(settings.subnet_file, log) if settings.subnet_file else None
        self._prepare = FirstProgram(log, self.leases.look_again)
        self.claims = Claims(
            settings,
            self.ipam,
            self._prepare,
            former=memory.former_subnets(settings.node)
            | (self.subnet_file.former_subnets() if self.subnet_file else {}),
            take_over=take_over,
        )

    # --- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        self._recall()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.watch.run(), name="watch")
                self._kernel = await self._thread.open()
                if self._take_over is not None:
                    await self._thread.call(self._take_over.start)
                self.lookout.start(self._kernel)
                tasks.create_task(self.leases.run(), name="leases")
                tasks.create_task(self.lookout.poll(self.desires.silent_keys), name="sysctls")
                tasks.create_task(self._every(self.settings.resync_s, self.resync), name="resync")
                tasks.create_task(self._every(TUNNEL_POLL_S, self._look_at_tunnels), name="tunnels")
                # Each poll costs an idle node its wake-ups, so only what is asked for is polled.
                if self.subnet_file is not None:
                    keep = self.subnet_file.keep
                    tasks.create_task(self._every(SUBNET_FILE_POLL_S, keep), name="subnet file")
                tasks.create_task(self.forward.look_at_legacy(), name="iptables-legacy")
                tasks.create_task(self.programs.run(), name="programs")
                tasks.create_task(self._prepare.run(), name="first program")
                tasks.create_task(self._work(self._kernel), name="work")
        finally:
            self.settling.end(Unsettled("the agent is stopping"))
            for part in (self.lookout, self.forward, self.reconciler):
                part.stop()
            try:
                await self._thread.close()
            finally:
                await self._store.close()

    def _recall(self) -> None:
        """Start from what a former life wrote down."""
        self.cluster.recall(self._memory.network(), self._memory.nodes())
        self.node.recall()
        for endpoint, identity in self.ledger.endpoints().values():
            self.endpoints.put(endpoint, identity)
            if not identity or namespace_identity(endpoint.netns) != identity:
                self.endpoints.detach(endpoint.key)

    async def _every(self, seconds: float, act: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            act()

    # --- marks: what happened -------------------------------------------------------------------

    def wake(self) -> None:
        """Have a pass made soon."""
        self._wake.set()

    def resync(self) -> None:
        """Have everything of ours read again from the kernel, and written that the disk is owed."""
        self._memory.catch_up()
        self.lookout.look_at_all()

    def _look_at_tunnels(self) -> None:
        for dev in self.desires.silent_devices():
            self.lookout.look_at(dev)

    def _wanted_claim(self) -> Claim | None:
        return self.claims.wanted(self.cluster, self.node.me, self.uplink)

    def _granted(self, node: Node) -> None:
        self.node.granted(node)
        self.wake()

    # --- what others ask ------------------------------------------------------------------------

    @property
    def me(self) -> Node | None:
        """This node as it was granted last."""
        return self.node.me

    @property
    def uplink(self) -> Uplink | None:
        """The interface by which this node reaches its peers, as last seen."""
        return self.lookout.uplink

    def is_current(self) -> bool:
        """Tell whether what is wanted of the kernel was computed from what is known now."""
        return self.cluster.network is None or self.node.place() == self.desires.place

    async def passed(self) -> None:
        """Return after the next pass."""
        await self._passed.wait()

    async def preview(self) -> list[Operation]:
        """Return what a pass would do now, after reading everything, without doing it.

        Raises:
            Unsettled: nobody knows yet what the kernel should hold.
        """
        if self._kernel is None or self.desires.place is None:
            raise Unsettled(NO_PLACE)
        state = await self._thread.call(self._kernel.read, list(self.tracker.wanted()))
        return self.tracker.preview(state)

    async def in_kernel_thread(self, call: Callable[..., T], *arguments: object) -> T:
        """Return what *call* returns, made in the kernel's thread."""
        return await self._thread.call(call, *arguments)

    # --- passes ---------------------------------------------------------------------------------

    async def _work(self, kernel: Kernel) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            started = time.monotonic()
            done = await self._pass(kernel)
            self.reconciler.report(done, time.monotonic() - started)
            self._passed.set()
            self._passed.clear()

    async def _pass(self, kernel: Kernel) -> Done:
        """Make one pass; return what was done."""
        if await self.lookout.hear():
            self._store.recheck()
            self.leases.look_again()
        self._compute()
        if self.desires.place is None:
            return []
        await self.lookout.read(self.desires.silent_keys())
        if not self.lookout.complete:
            self.settling.waiters.refuse(
                Unsettled(f"the kernel cannot be read: {self.lookout.error}")
            )
            return []
        return await self._reconcile(kernel)

    def _compute(self) -> None:
        """Bring what is wanted up to what is known."""
        place = self.node.place()
        if place is None:
            self.desires.refresh_endpoints(self.endpoints)
            return
        # It may want devices that were nobody's business before: see what stands on them.
        if self.desires.is_elsewhere(place):
            self.lookout.look_at_all()
        elif place != self.desires.place:
            self.lookout.look_at(self.settings.names.bridge)
        skipped = self.desires.refresh(place, self.cluster, self.endpoints)
        reasons = [{"node": n, "reason": "; ".join(self.desires.skipped[n])} for n in skipped]
        tell_some(self.log, "peer skipped", "peers skipped, too", reasons)
        self.tracker.sweeping = self.cluster.complete
        self.programs.sweep(on=self.cluster.complete)

    async def _reconcile(self, kernel: Kernel) -> Done:
        """Carry out what is due until nothing is; then answer those who waited for it."""
        with self.settling.waiters.taken() as waiting:
            outcome = await self.reconciler.carry_out(kernel)
            if outcome.is_settled:
                await self._settled()
                self.reconciled = True
            else:
                self.wake()
            self.reconciler.schedule_retry()
            waiting.answer(self.tracker.failures)
        return outcome.done

    async def _settled(self) -> None:
        """Say that the node serves, and remove what a flanneld did for it until now."""
        place, take_over = self.desires.place, self._take_over
        assert place is not None, "a pass was made"
        if self.subnet_file is not None:
            self.subnet_file.keep(place)
        await self.forward.keep(place)
        in_force = self.cluster.complete and not self.tracker.failures
        if take_over is not None and take_over.pending and in_force:
            finish = partial(take_over.finish, forward_is_kept=self.forward.is_kept)
            await self._thread.call(finish)
