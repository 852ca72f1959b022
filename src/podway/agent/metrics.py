"""What the agent counts, in Prometheus' words; names and meanings are part of the interface."""

import errno
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from podway.diff.operations import Operation
from podway.kernel.protocol import KernelError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RECONCILE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_CNI_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """The agent's counters, gauges and histograms, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reconcile = Histogram(
            "podway_reconcile_duration_seconds",
            "Time of a pass that changed something, from marks to kernel.",
            registry=self.registry,
            buckets=_RECONCILE_BUCKETS_S,
        )
        self._operations = Counter(
            "podway_operations_total",
            "Writes to the kernel by kind of object, verb and result (ok or the errno's name).",
            ("kind", "verb", "result"),
            registry=self.registry,
        )
        self._cni = Histogram(
            "podway_cni_duration_seconds",
            "Time from a CNI request to its answer.",
            ("command", "result"),
            registry=self.registry,
            buckets=_CNI_BUCKETS_S,
        )

    def operation(self, operation: Operation, error: KernelError | None) -> None:
        """Count one write."""
        result = "ok" if error is None else errno.errorcode.get(error.errno, str(error.errno))
        self._operations.labels(operation.key.kind, operation.verb.value, result).inc()

    def reconciled(self, seconds: float) -> None:
        """Count one pass that changed something."""
        self._reconcile.observe(seconds)

    def cni(self, command: str, result: str, seconds: float) -> None:
        """Count one CNI call; *result* is ``ok`` or the number of the error."""
        self._cni.labels(command, result).observe(seconds)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def render(self) -> bytes:
        """Return all of it in the text format."""
        return generate_latest(self.registry)
