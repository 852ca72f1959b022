"""The loop: what the store, the kernel and the runtime say becomes marks; marks become one pass.

A pass reads what may have changed in the kernel, computes what is dirty, asks the tracker for the
operations that are left, and has them carried out; it repeats until nothing is left to do. All
decisions are made on the event loop's thread. Everything that blocks on the kernel is done by one
other thread, one thing at a time, and only passes give it work, so that what was read is never
older than what was seen happening since.

Nothing is swept before the store's first complete list. A failure is tried again when its device
changes, and after a growing pause.
"""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from podway.agent.cluster import Cluster
from podway.agent.desires import OWN, Desires
from podway.agent.endpoints import Endpoints, namespace_identity
from podway.agent.ipam import Ipam
from podway.agent.leases import LeaseKeeper, make_claim
from podway.agent.ledger import Ledger
from podway.agent.metrics import Metrics
from podway.agent.settings import Settings
from podway.compute.node import Place
from podway.diff.operations import Operation, Verb
from podway.diff.tracker import Failure, Tracker
from podway.errors import ConfigError
from podway.kernel.logs import get_log
from podway.kernel.protocol import DeviceChanged, Kernel, KernelError, Overrun, Seen, UplinkChanged
from podway.model.endpoints import EndpointKey
from podway.model.kernel import Key, Link, Veth
from podway.model.nodes import Claim, Node, Uplink
from podway.store.codec import decode_network, decode_node, encode_network, encode_node
from podway.store.protocol import Away, Back, Delta, Snapshot, Store

T = TypeVar("T")

SYSCTL_POLL_S = 0.5
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

    Attributes:
        store_state: "never", "connected" or "away".
        uplink_error: why no lease can be claimed, for people.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        open_kernel: Callable[[], Kernel],
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.tracker = Tracker()
        self.cluster = Cluster()
        self.endpoints = Endpoints()
        self.desires = Desires(settings.node, self.tracker)
        self.ipam = Ipam(ledger, settings.cooldown_s)
        self.ledger = ledger
        self.me: Node | None = None
        self.uplink: Uplink | None = None
        self.uplink_error = ""
        self.store_state = "never"
        self.store_reason = ""
        self.store_since = time.monotonic()
        self.last_pass: dict[str, object] = {}
        self.log = get_log("podway.agent")
        self.leases = LeaseKeeper(
            store, self._wanted_claim, self._granted, settings.lease_ttl_s, self.log
        )
        self._store = store
        self._open_kernel = open_kernel
        self._kernel: Kernel | None = None
        self._kernel_thread = ThreadPoolExecutor(1, thread_name_prefix="kernel")
        self._wake = asyncio.Event()
        self._waiters: list[tuple[frozenset[Key], asyncio.Future[list[Failure]]]] = []
        self._passed = asyncio.Event()
        self._resync_due = True
        self._kernel_spoke = False
        self._sysctls_due = False
        self._devices_due: set[str] = set()
        self._uplink_due = True
        self._retry_s = _RETRY_FIRST_S
        self._retry: asyncio.TimerHandle | None = None

    # --- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        self._recall()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_store(), name="watch")
                self._kernel = await loop.run_in_executor(self._kernel_thread, self._open_kernel)
                loop.add_reader(self._kernel.fileno(), self._on_kernel)
                tasks.create_task(self.leases.run(), name="leases")
                tasks.create_task(self._every(SYSCTL_POLL_S, self._on_sysctl_poll), name="sysctls")
                tasks.create_task(self._every(self.settings.resync_s, self.resync), name="resync")
                tasks.create_task(self._work(), name="work")
        finally:
            if self._kernel is not None:
                loop.remove_reader(self._kernel.fileno())
                await self._in_kernel(self._kernel.close)
            self._kernel_thread.shutdown()
            await self._store.close()

    def _recall(self) -> None:
        """Start from what a former life wrote down."""
        networks, nodes = self.ledger.remembered("network"), self.ledger.remembered("node")
        network = decode_network(networks[""]) if networks else None
        self.cluster.recall(network, {name: decode_node(data) for name, data in nodes.items()})
        mine = self.ledger.remembered("me").get(self.settings.node)
        if mine is not None:
            self._set_me(decode_node(mine))
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
        self._resync_due = True
        self.wake()

    async def settle(self, keys: Iterable[Key]) -> list[Failure]:
        """Wait for the next whole pass; return the failures among *keys* that it left."""
        done: asyncio.Future[list[Failure]] = asyncio.get_running_loop().create_future()
        self._waiters.append((frozenset(keys), done))
        self.wake()
        return await done

    async def settle_endpoint(self, key: EndpointKey) -> list[Failure]:
        """Compute the endpoint with *key* anew and wait until the kernel has it (or has it not)."""
        before = self.desires.keys_of(key)
        if self.desires.place is not None:
            self.desires.refresh(self.desires.place, self.cluster, self.endpoints)
        return await self.settle(before | self.desires.keys_of(key))

    async def passed(self) -> None:
        """Return after the next pass."""
        await self._passed.wait()

    async def preview(self) -> list[Operation]:
        """Return what a pass would do now, after reading everything, without doing it."""
        assert self._kernel is not None
        if self.desires.place is None:
            return []
        state = await self._in_kernel(self._kernel.read, list(self.tracker.wanted()))
        return self.tracker.preview(state)

    async def in_kernel_thread(self, call: Callable[..., T], *arguments: object) -> T:
        """Return what *call* returns, made in the kernel's thread."""
        return await self._in_kernel(call, *arguments)

    def _on_kernel(self) -> None:
        assert self._kernel is not None
        asyncio.get_running_loop().remove_reader(self._kernel.fileno())
        self._kernel_spoke = True
        self.wake()

    def _on_sysctl_poll(self) -> None:
        self._sysctls_due = True
        self.wake()

    def _on_retry(self) -> None:
        self._retry = None
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
        self.cluster.hear(event)
        self._remember_cluster(network_changed=network != self.cluster.network)
        if self.cluster.network != network or self._contradicts_me(event):
            self.leases.lost()
        self.leases.look_again()

    def _contradicts_me(self, event: Snapshot | Delta) -> bool:
        """Tell whether the store now holds this node in another way than it was granted."""
        if self.me is None:
            return False
        if isinstance(event, Snapshot):
            return self.cluster.nodes.get(self.me.name) != self.me
        return any(c.name == self.me.name and c.node != self.me for c in event.changes)

    def _remember_cluster(self, *, network_changed: bool) -> None:
        changes: list[tuple[str, str, bytes | None]] = []
        for name in self.cluster.dirty:
            node = self.cluster.nodes.get(name)
            changes.append(("node", name, encode_node(node) if node is not None else None))
        if network_changed and self.cluster.network is not None:
            changes.append(("network", "", encode_network(self.cluster.network)))
        if changes:
            self._remember(changes)

    def _remember(self, changes: list[tuple[str, str, bytes | None]]) -> None:
        try:
            self.ledger.remember(changes)
        except Exception as error:  # noqa: BLE001  (a cache: what it misses comes from the store)
            self.log.warning("cluster not remembered", reason=str(error))

    # --- the node's own lease -------------------------------------------------------------------

    def _wanted_claim(self) -> Claim | None:
        network, uplink = self.cluster.network, self.uplink
        if network is None or uplink is None or not self.cluster.complete:
            return None
        settings = self.settings
        try:
            claim = make_claim(
                settings.node,
                network,
                uplink,
                named=settings.public_ips,
                me=self.me,
                ttl_s=settings.lease_ttl_s,
            )
        except ConfigError as error:
            self.uplink_error = str(error)
            return None
        self.uplink_error = ""
        return claim

    def _granted(self, node: Node) -> None:
        if node != self.me:
            subnets = ",".join(str(lease.subnet) for lease in node.leases)
            self.log.info("lease granted", node=node.name, subnets=subnets)
        self._set_me(node)
        self._remember([("me", node.name, encode_node(node))])
        self.wake()

    def _set_me(self, node: Node) -> None:
        self.me = node
        self.ipam.set_subnets({lease.family: lease.subnet for lease in node.leases})

    def _place(self) -> Place | None:
        network, me, uplink = self.cluster.network, self.me, self.uplink
        if network is None or me is None or uplink is None:
            return None
        if me.backend != network.backend_name:
            return None
        bridge = network.attach == "bridge" or self.endpoints.bridged > 0
        return Place(network=network, me=me, uplink=uplink, bridge=bridge)

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

    async def _pass(self) -> list[tuple[Operation, KernelError | None]]:
        """Make one pass; return what was done."""
        await self._read_kernel()
        place = self._place()
        if place is not None:
            first = self.desires.place is None
            self.desires.refresh(place, self.cluster, self.endpoints)
            self.tracker.sweeping = self.cluster.complete
            if first:
                await self._read_all()
        waiters, self._waiters = self._waiters, []
        done: list[tuple[Operation, KernelError | None]] = []
        if place is not None:
            for _ in range(_MAX_ROUNDS):
                operations = self.tracker.plan()
                if not operations:
                    break
                done += await self._apply(operations)
            else:
                self.wake()
        self._schedule_retry()
        for keys, future in waiters:
            failures = self.tracker.failures
            if not future.done():
                future.set_result([failures[key] for key in keys if key in failures])
        return done

    async def _apply(
        self, operations: list[Operation]
    ) -> list[tuple[Operation, KernelError | None]]:
        assert self._kernel is not None
        errors = await self._in_kernel(self._kernel.apply, operations)
        now = time.monotonic()
        for operation, error in zip(operations, errors, strict=True):
            self.tracker.record(operation, error, now)
            if error is not None:
                self._detach_if_gone(operation, error)
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

    def _report(self, done: list[tuple[Operation, KernelError | None]], seconds: float) -> None:
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

    # --- reading the kernel ---------------------------------------------------------------------

    async def _read_kernel(self) -> None:
        assert self._kernel is not None
        if self._kernel_spoke:
            self._kernel_spoke = False
            for event in self._kernel.drain():
                self._see(event)
            asyncio.get_running_loop().add_reader(self._kernel.fileno(), self._on_kernel)
        if self._uplink_due:
            self._uplink_due = False
            await self._read_uplink()
        if self._resync_due and self.desires.place is not None:
            await self._read_all()
        devices, self._devices_due = self._devices_due, set()
        for dev in devices:
            wanted = self.tracker.wanted_on(dev)
            state = await self._in_kernel(self._kernel.read_dev, dev, wanted)
            self.tracker.observe_device(dev, state)
        if self._sysctls_due:
            self._sysctls_due = False
            keys = [key for key in self.tracker.part(OWN) if key.kind == "sysctl"]
            if keys:
                self._observe(await self._in_kernel(self._kernel.check_sysctls, keys))

    def _see(self, event: Seen | DeviceChanged | UplinkChanged | Overrun) -> None:
        match event:
            case Seen():
                self._observe([event])
            case DeviceChanged(dev):
                self._devices_due.add(dev)
                self.tracker.retry()
                if self.uplink is None or dev == self.uplink.dev:
                    self._uplink_due = True
            case UplinkChanged(dev):
                self._uplink_due = self._uplink_due or self.uplink is None or dev == self.uplink.dev
            case Overrun():
                self._resync_due = self._uplink_due = True

    def _observe(self, events: Iterable[Seen]) -> None:
        for event in events:
            self.tracker.observe(event.key, event.found)

    async def _read_all(self) -> None:
        assert self._kernel is not None
        self._resync_due = False
        state = await self._in_kernel(self._kernel.read, list(self.tracker.wanted()))
        self.tracker.observe_all(state)

    async def _read_uplink(self) -> None:
        assert self._kernel is not None
        dev = self.settings.uplink or await self._find_uplink()
        found = await self._in_kernel(self._kernel.read_uplink, dev) if dev else None
        if found is None:
            what = f"device {dev}" if dev else "a default route"
            self.uplink_error = f"this node has no {what}: name its interface with --uplink"
        elif found != self.uplink:
            self.uplink, self.uplink_error = found, ""
            self.leases.look_again()

    async def _find_uplink(self) -> str:
        assert self._kernel is not None
        return await self._in_kernel(self._kernel.find_uplink) or ""

    def _in_kernel(self, call: Callable[..., T], *arguments: object) -> Awaitable[T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._kernel_thread, call, *arguments)

    # --- endings --------------------------------------------------------------------------------

    async def release_lease(self) -> None:
        """Give the node's subnets back to the cluster."""
        with suppress(Exception):
            await self._store.release(self.settings.node)
