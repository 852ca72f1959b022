"""The loop: what the store, the kernel and the runtime say becomes marks; marks become one pass.

A pass computes what is dirty, reads what may have changed in the kernel (`lookout`), asks the
tracker for the operations that are left, and has them carried out; it repeats until nothing is left
to do. All decisions are made on the event loop's thread; everything that blocks on the kernel is
done by one other thread, one thing at a time (`kernel_thread`).

Nothing is swept before the store's first complete list. A failure is tried again when its device
changes, and after a growing pause. While no place can be computed (the network was removed, or has
another backend for which no lease is granted yet) the node keeps the last one, so that what works
goes on working and pods come and go. Whoever waits for a pass gets an answer or an error, whatever
happens to the pass and to the agent.
"""

import asyncio
import errno
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias, TypeVar

from podway.agent.claims import Claims
from podway.agent.cluster import Cluster
from podway.agent.desires import OWN, Desires
from podway.agent.endpoints import Endpoints, namespace_identity
from podway.agent.forward import Chain, ForwardKeeper
from podway.agent.ipam import Ipam
from podway.agent.kernel_thread import KernelThread
from podway.agent.leases import LeaseKeeper
from podway.agent.ledger import Ledger
from podway.agent.lookout import Lookout
from podway.agent.memory import Memory
from podway.agent.metrics import Metrics
from podway.agent.place import place_of
from podway.agent.programs import FirstProgram, Programs
from podway.agent.settings import Settings
from podway.agent.subnet_env import SubnetFile
from podway.agent.takeover import TakeOver
from podway.agent.waiters import Unsettled, Waiters
from podway.compute.node import Place
from podway.compute.subnets import is_drained
from podway.diff.operations import Operation, Verb
from podway.diff.order import device_of
from podway.diff.tracker import Failure, Tracker
from podway.errors import PodwayError
from podway.kernel.checksum_errors import ChecksumErrors
from podway.kernel.logs import get_log
from podway.kernel.protocol import SILENT_KINDS, Kernel, KernelError
from podway.model.endpoints import Endpoint, EndpointKey, host_ifname
from podway.model.kernel import Key, Link, Veth, Wireguard, link_key
from podway.model.nodes import Claim, Node, Uplink
from podway.store.protocol import Away, Back, Delta, Snapshot, Store

T = TypeVar("T")
Done: TypeAlias = list[tuple[Operation, KernelError | None]]

# WireGuard tells nobody when its peers are changed.
TUNNEL_POLL_S = 3.0
# Who waits for the subnet file must not wait long when somebody has removed it.
SUBNET_FILE_POLL_S = 2.0
_RETRY_FIRST_S = 0.2
_RETRY_MAX_S = 5.0
# A pass that is not done after so many rounds is fighting with somebody; it starts again later.
_MAX_ROUNDS = 8


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
        store_state: "never", "connected" or "away".
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
        self.metrics = metrics
        names = settings.names
        self.tracker = Tracker(names.marks)
        self.cluster = Cluster()
        self.endpoints = Endpoints()
        self.log = get_log("podway.agent")
        self.programs = Programs(ledger, self.log)
        self.desires = Desires(settings.node, self.tracker, self.programs, names)
        self.ipam = Ipam(ledger, settings.cooldown_s)
        self.ledger = ledger
        self.me: Node | None = None
        self.reconciled = False
        self.store_state = "never"
        self.store_reason = ""
        self.store_since = time.monotonic()
        self.last_pass: dict[str, object] = {}
        self.checksum_errors = ChecksumErrors()
        self.leases = LeaseKeeper(
            store, self._wanted_claim, self._granted, settings.lease_ttl_s, self.log
        )
        self.subnet_file = (
            SubnetFile(settings.subnet_file, self.log) if settings.subnet_file else None
        )
        self._take_over = take_over
        self._store = store
        self._memory = Memory(ledger, self.log)
        self._prepare = FirstProgram(self.log, self.leases.look_again)
        self.claims = Claims(
            settings,
            self.ipam,
            self._prepare,
            former=self._memory.former_subnets(settings.node)
            | (self.subnet_file.former_subnets() if self.subnet_file else {}),
            take_over=take_over,
        )
        self._thread = KernelThread(open_kernel)
        self._kernel: Kernel | None = None
        self._wake = asyncio.Event()
        self.lookout = Lookout(
            settings.uplink_choice, self.tracker, self._thread, self.wake, self.log
        )
        self.forward = ForwardKeeper(forward, self._thread, self.lookout, self.log)
        self._waiters = Waiters()
        self._passed = asyncio.Event()
        self._ended = False
        self._retry_s = _RETRY_FIRST_S
        self._retry: asyncio.TimerHandle | None = None

    # --- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        self._recall()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_store(), name="watch")
                self._kernel = await self._thread.open()
                if self._take_over is not None:
                    await self._thread.call(self._take_over.start)
                self.lookout.start(self._kernel)
                tasks.create_task(self.leases.run(), name="leases")
                tasks.create_task(self.lookout.poll(self._own_sysctls), name="sysctls")
                tasks.create_task(self._every(self.settings.resync_s, self.resync), name="resync")
                tasks.create_task(self._every(TUNNEL_POLL_S, self._look_at_tunnels), name="tunnels")
                # Each poll costs an idle node its wake-ups, so only what is asked for is polled.
                if self.subnet_file is not None:
                    keep = self.subnet_file.keep
                    tasks.create_task(self._every(SUBNET_FILE_POLL_S, keep), name="subnet file")
                tasks.create_task(self.programs.run(), name="programs")
                tasks.create_task(self._prepare.run(), name="first program")
                tasks.create_task(self._work(), name="work")
        finally:
            self._ended = True
            self._waiters.refuse(Unsettled("the agent is stopping"))
            self.lookout.stop()
            self.forward.stop()
            if self._retry is not None:
                self._retry.cancel()
            try:
                await self._thread.close()
            finally:
                await self._store.close()

    def _recall(self) -> None:
        """Start from what a former life wrote down."""
        self.cluster.recall(self._memory.network(), self._memory.nodes())
        mine = self._memory.me(self.settings.node)
        if mine is not None:
            self._set_me(mine)
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
        """Have everything of ours read again from the kernel."""
        self.lookout.look_at_all()

    def _look_at_tunnels(self) -> None:
        """Have devices read again whose configuration changes without notification."""
        for key, item in self.tracker.part(OWN).items():
            if isinstance(item, Link) and isinstance(item.kind, Wireguard):
                self.lookout.look_at(str(key.parts[0]))

    @property
    def uplink(self) -> Uplink | None:
        """The interface by which this node reaches its peers, as last seen."""
        return self.lookout.uplink

    async def settle(self, keys: Iterable[Key]) -> list[Failure]:
        """Wait for the next whole pass; return the failures among *keys* that it left.

        Raises:
            Unsettled: there is no such pass.
        """
        if self._ended:
            raise Unsettled("the agent is stopping")
        if self.desires.place is None:
            raise Unsettled("the node has no lease yet, or the agent has just started")
        done = self._waiters.add(keys)
        self.wake()
        return await done

    async def settle_endpoint(self, key: EndpointKey) -> list[Failure]:
        """Compute the endpoint with *key* anew and wait until the kernel has it (or has it not).

        Its host end counts whether it is wanted or not: while it cannot be deleted, the endpoint is
        not gone, however often that is asked for.

        Raises:
            Unsettled: nobody can tell whether the kernel has it.
        """
        before = self.desires.keys_of(key)
        self.desires.refresh_endpoints(self.endpoints)
        keys = before | self.desires.keys_of(key) | {link_key(host_ifname(key))}
        for failing in keys & self.tracker.failures.keys():
            self.tracker.observe(failing, self.tracker.observed(failing))
        return await self.settle(keys)

    async def passed(self) -> None:
        """Return after the next pass."""
        await self._passed.wait()

    async def preview(self) -> list[Operation]:
        """Return what a pass would do now, after reading everything, without doing it.

        Raises:
            Unsettled: nobody knows yet what the kernel should hold.
        """
        if self._kernel is None or self.desires.place is None:
            raise Unsettled("the node has no lease yet, or the agent has just started")
        state = await self._thread.call(self._kernel.read, list(self.tracker.wanted()))
        return self.tracker.preview(state)

    async def in_kernel_thread(self, call: Callable[..., T], *arguments: object) -> T:
        """Return what *call* returns, made in the kernel's thread."""
        return await self._thread.call(call, *arguments)

    def _on_retry(self) -> None:
        """Look at what the failing operations are about again, and make them due."""
        self._retry = None
        for failure in self.tracker.failures.values():
            dev = device_of(failure.operation.desired or failure.operation.observed)
            if dev:
                self.lookout.look_at(dev)
        self.tracker.retry()
        self.wake()

    async def _watch_store(self) -> None:
        async for event in self._store.watch():
            match event:
                case Away(reason):
                    self._set_store_state("away", reason)
                case Back():
                    self._set_store_state("connected", "")
                case Snapshot() | Delta():
                    self._hear(event)
            self.wake()

    def _set_store_state(self, state: str, reason: str) -> None:
        if state != self.store_state:
            self.log.info("store", state=state, reason=reason)
            self.store_since = time.monotonic()
        self.store_state, self.store_reason = state, reason

    def _hear(self, event: Snapshot | Delta) -> None:
        self._set_store_state("connected", "")
        network = self.cluster.network
        changed = self.cluster.hear(event)
        self._memory.keep(self.cluster, changed, network)
        if isinstance(event, Snapshot) and self.cluster.missing:
            self.log.warning("store was put back", missing=",".join(sorted(self.cluster.missing)))
            self._await_missing()
        if self._contradicts_me(event):
            self.log.warning("lease is another in the store", node=self.settings.node)
            self.leases.lost()
        elif self.cluster.network != network:
            self.leases.lost()
        self.leases.look_again()

    def _await_missing(self) -> None:
        """Give nodes that a rewound store does not know the time to claim their leases again."""
        asyncio.get_running_loop().call_later(self.settings.store_grace_s, self._forget_missing)

    def _forget_missing(self) -> None:
        if self._ended or not self.cluster.missing:
            return
        if self.cluster.network is None or self.store_state != "connected":
            self._await_missing()  # nobody can claim now
            return
        gone = self.cluster.forget_missing()
        self._memory.keep(self.cluster, gone, self.cluster.network)
        self.wake()

    def _contradicts_me(self, event: Snapshot | Delta) -> bool:
        """Tell whether the store now holds this node in another way than it was granted."""
        if self.me is None:
            return False
        if isinstance(event, Snapshot):
            return self.me not in event.nodes
        return any(c.name == self.me.name and c.node != self.me for c in event.changes)

    # --- the node's own lease -------------------------------------------------------------------

    def _wanted_claim(self) -> Claim | None:
        return self.claims.wanted(self.cluster, self.me, self.uplink)

    def _granted(self, node: Node) -> None:
        before = self.ipam.subnets
        if node != self.me:
            subnets = ",".join(str(lease.subnet) for lease in node.leases)
            self.log.info("lease granted", node=node.name, subnets=subnets)
        self._set_me(node)
        self._memory.keep_me(node)
        self.wake()
        if self.ipam.subnets != before and (count := len(self.stranded())):
            lost = ",".join(map(str, before.values()))
            self.log.error("pods are cut off: the node has another subnet", pods=count, was=lost)

    def is_drained(self) -> bool:
        """Tell whether the network wants a subnet of this node's back."""
        network, subnets = self.cluster.network, self.ipam.subnets.values()
        return network is not None and any(is_drained(network, subnet) for subnet in subnets)

    def stranded(self) -> list[Endpoint]:
        """Return the endpoints whose addresses are not (all) in the node's subnets any more.

        They keep running, with their addresses, which may be another node's pods' by now; so none
        of their packets leaves the node, and only making them anew helps.
        """
        return [each for each in self.endpoints if self.ipam.is_outside(each.addresses)]

    def _set_me(self, node: Node) -> None:
        self.me = node
        self.ipam.set_subnets({lease.family: lease.subnet for lease in node.leases})

    def place(self) -> Place | None:
        """Return where the node stands by what is known now; None while that does not fit."""
        network, me, uplink = self.cluster.network, self.me, self.uplink
        if network is None or me is None or uplink is None:
            return None
        if me.backend != network.backend_name:
            return None
        pods = self.endpoints
        return place_of(
            self.settings,
            network,
            me,
            uplink,
            bridged=pods.bridged > 0,
            bridged_mtus=pods.bridged_mtus,
        )

    def is_current(self) -> bool:
        """Tell whether what is wanted of the kernel was computed from what is known now."""
        return self.cluster.network is None or self.place() == self.desires.place

    def _own_sysctls(self) -> list[Key]:
        """Return what of the node changes in silence; a pod's is looked at with its device."""
        return [key for key in self.tracker.part(OWN) if key.kind in SILENT_KINDS]

    # --- passes ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            started = time.monotonic()
            operations = await self._pass()
            self._report(operations, time.monotonic() - started)
            self._passed.set()
            self._passed.clear()

    async def _pass(self) -> Done:
        """Make one pass; return what was done."""
        if await self.lookout.hear():
            self._store.recheck()
            self.leases.look_again()
        place = self.place()
        if place is None:
            self.desires.refresh_endpoints(self.endpoints)
        else:
            if place != self.desires.place:
                # It may want devices that were nobody's business before: see what stands on them.
                self.lookout.look_at_all()
            self.desires.refresh(place, self.cluster, self.endpoints)
            self.tracker.sweeping = self.cluster.complete
            self.programs.sweep(on=self.cluster.complete)
        if self.desires.place is None:
            return []
        await self.lookout.read(self._own_sysctls())
        if not self.lookout.complete:
            self._waiters.refuse(Unsettled(f"the kernel cannot be read: {self.lookout.error}"))
            return []
        return await self._reconcile()

    async def _reconcile(self) -> Done:
        """Carry out what is due until nothing is; then answer those who waited for it."""
        with self._waiters.taken() as waiting:
            done = await self._carry_out()
            self._schedule_retry()
            waiting.answer(self.tracker.failures)
        return done

    async def _carry_out(self) -> Done:
        done: Done = []
        for _ in range(_MAX_ROUNDS):
            operations = self.tracker.plan()
            if not operations:
                await self._settled()
                self.reconciled = True
                return done
            done += await self._apply(operations)
        self.wake()
        return done

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

    async def _apply(self, operations: list[Operation]) -> Done:
        assert self._kernel is not None
        try:
            errors = await self._thread.call(self._kernel.apply, operations)
        except PodwayError as fault:
            # What became of each is unknown; as failures they are looked at and tried again.
            self.lookout.distrust(fault)
            failure = KernelError(errno.EIO, f"{len(operations)} operations", str(fault))
            errors = [failure] * len(operations)
        now = time.monotonic()
        for operation, error in zip(operations, errors, strict=True):
            self.tracker.record(operation, error, now)
            if error is not None:
                self._detach_if_gone(operation, error)
            elif operation.verb is Verb.DELETE and operation.key.kind == "address":
                # With the last one went what stood on the device, as in `lookout`.
                self.lookout.look_at(str(operation.key.parts[0]))
        return list(zip(operations, errors, strict=True))

    def _detach_if_gone(self, operation: Operation, error: KernelError) -> None:
        """Stop wanting a pod whose namespace is not there any more."""
        link = operation.desired
        if not (isinstance(link, Link) and isinstance(link.kind, Veth) and link.kind.pod):
            return
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            return
        for endpoint in self.endpoints:
            if endpoint.host_ifname == link.name and not self.endpoints.still_there(endpoint.key):
                self.log.warning("pod namespace gone", pod=endpoint.pod, netns=endpoint.netns)
                self.endpoints.detach(endpoint.key)
                self.wake()
                return

    def _schedule_retry(self) -> None:
        if not self.tracker.failures:
            self._retry_s = _RETRY_FIRST_S
        elif self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(self._retry_s, self._on_retry)
            self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)

    def _report(self, done: Done, seconds: float) -> None:
        """Log and count a pass that did something; say nothing about any other."""
        if not done:
            return
        counts = dict.fromkeys(Verb, 0)
        failed = 0
        for operation, error in done:
            counts[operation.verb] += 1
            failed += error is not None
            self.metrics.operation(operation, error)
        self.metrics.reconciled(seconds)
        self.last_pass = {
            "operations": len(done),
            "failed": failed,
            "duration_ms": round(seconds * 1000, 2),
            "at": time.time(),
        }
        words = {verb.value: count for verb, count in counts.items() if count}
        self.log.info("reconciled", **words, failed=failed, ms=f"{seconds * 1000:.1f}")
        for operation, error in done:
            if error is not None:
                self.log.warning("operation failed", operation=str(operation), reason=str(error))
