"""The difference, carried out: planned, applied and recorded, until nothing is left of it.

In: what the tracker finds to do. Out: the kernel as wanted, and a record of each operation; what
failed is tried again after a growing pause, or when its device changes. Called by passes, one at a
time; every call of the kernel is made in its own thread.
"""

import asyncio
import errno
import time
from typing import TypeAlias

from msgspec import Struct

from podway.agent.endpoints import Endpoints
from podway.agent.kernel_thread import KernelThread
from podway.agent.lookout import Lookout
from podway.agent.metrics import Metrics
from podway.agent.remarks import tell_some
from podway.diff.operations import Operation, Verb
from podway.diff.order import device_of
from podway.diff.tracker import Tracker
from podway.errors import PodwayError
from podway.kernel.logs import Log
from podway.kernel.protocol import Kernel, KernelError
from podway.model.kernel import Key, Link, Veth

Done: TypeAlias = list[tuple[Operation, KernelError | None]]

_RETRY_FIRST_S = 0.2
_RETRY_MAX_S = 5.0
# Who is not done after so many rounds is fighting with somebody, and goes on later.
_MAX_ROUNDS = 8


class Outcome(Struct, frozen=True):
    """What was done, and whether nothing is left to do but what failed."""

    done: Done
    is_settled: bool


class Reconciler:
    """Makes the kernel as the tracker says.

    Args:
        tracker: finds what to do.
        thread: where the kernel is called.
        lookout: looks again at what failed, and at what goes in silence with something else.
        endpoints: pods, one of whose namespaces may turn out to be gone.
        metrics: counts what is done.

    Attributes:
        last: of the last time that something was done: operations, failures, duration, time.
    """

    def __init__(  # noqa: PLR0917  (the parts of one agent)
        self,
        tracker: Tracker,
        thread: KernelThread,
        lookout: Lookout,
        endpoints: Endpoints,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self.last: dict[str, object] = {}
        self._told: dict[Key, str] = {}
        self._tracker = tracker
        self._thread = thread
        self._lookout = lookout
        self._endpoints = endpoints
        self._metrics = metrics
        self._log = log
        self._retry_s = _RETRY_FIRST_S
        self._retry: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Try nothing again."""
        if self._retry is not None:
            self._retry.cancel()

    async def carry_out(self, kernel: Kernel) -> Outcome:
        """Carry out what is due until nothing is."""
        done: Done = []
        for _ in range(_MAX_ROUNDS):
            operations = self._tracker.plan()
            if not operations:
                return Outcome(done, is_settled=True)
            done += await self._apply(kernel, operations)
        return Outcome(done, is_settled=False)

    async def _apply(self, kernel: Kernel, operations: list[Operation]) -> Done:
        try:
            errors = await self._thread.call(kernel.apply, operations)
        except PodwayError as fault:
            # What became of each is unknown; as failures they are looked at and tried again.
            self._lookout.distrust(fault)
            failure = KernelError(errno.EIO, f"{len(operations)} operations", str(fault))
            errors = [failure] * len(operations)
        now = time.monotonic()
        for operation, error in zip(operations, errors, strict=True):
            self._tracker.record(operation, error, now)
            if error is not None:
                self._detach_if_gone(operation, error)
            elif operation.verb is Verb.DELETE and operation.key.kind == "address":
                # With the last one went what stood on the device, as in `lookout`.
                self._lookout.look_at(str(operation.key.parts[0]))
        return list(zip(operations, errors, strict=True))

    def _detach_if_gone(self, operation: Operation, error: KernelError) -> None:
        """Stop wanting a pod whose namespace is not there any more."""
        link = operation.desired
        if not (isinstance(link, Link) and isinstance(link.kind, Veth) and link.kind.pod):
            return
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            return
        for endpoint in self._endpoints:
            if endpoint.host_ifname == link.name and not self._endpoints.still_there(endpoint.key):
                self._log.warning("pod namespace gone", pod=endpoint.pod, netns=endpoint.netns)
                self._endpoints.detach(endpoint.key)
                self._lookout.wake()
                return

    # --- what failed ----------------------------------------------------------------------------

    def schedule_retry(self) -> None:
        """Have what failed tried again, if anything did."""
        if not self._tracker.failures:
            self._retry_s = _RETRY_FIRST_S
        elif self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(self._retry_s, self._on_retry)
            self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)

    def _on_retry(self) -> None:
        """Look at what the failing operations are about again, and make them due."""
        self._retry = None
        for failure in self._tracker.failures.values():
            dev = device_of(failure.operation.desired or failure.operation.observed)
            if dev:
                self._lookout.look_at(dev)
        self._tracker.retry()
        self._lookout.wake()

    # --- for people -----------------------------------------------------------------------------

    def report(self, done: Done, seconds: float) -> None:
        """Log and count a pass that did something; say nothing about any other."""
        if not done:
            return
        counts = dict.fromkeys(Verb, 0)
        failed = 0
        for operation, error in done:
            counts[operation.verb] += 1
            failed += error is not None
            self._metrics.operation(operation, error)
        self._metrics.reconciled(seconds)
        self.last = {
            "operations": len(done),
            "failed": failed,
            "duration_ms": round(seconds * 1000, 2),
            "at": time.time(),
        }
        words = {verb.value: count for verb, count in counts.items() if count}
        self._log.info("reconciled", **words, failed=failed, ms=f"{seconds * 1000:.1f}")
        self._tell_failures()

    def _tell_failures(self) -> None:
        """Log what fails, each thing once for each reason; with a device all on it fails."""
        before, failures = self._told, self._tracker.failures
        self._told = {key: str(failure.error) for key, failure in failures.items()}
        news = [
            {"operation": str(failures[key].operation), "reason": text}
            for key, text in self._told.items()
            if before.get(key) != text
        ]
        tell_some(self._log, "operation failed", "operations failed, too", news)
