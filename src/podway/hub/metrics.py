"""The hub in numbers, for Prometheus, and whether it is healthy.

In: a `HubServer`. Out: the routes of an HTTP end point. Everything is read when asked for; the hub
counts nothing twice.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from podway.hub.server import HubServer
from podway.kernel.http import Response, Route


class HubCollector(Collector):
    """Reads a hub's numbers when Prometheus asks for them."""

    def __init__(self, server: HubServer) -> None:
        self._server = server

    def _upstream(self) -> Iterator[Metric]:
        """Yield what the client of the store behind this hub counts, where there is one."""
        counts = self._server.upstream_counts
        if counts is None:
            return
        yield _counter("upstream_requests", "Requests to the store behind.", counts.requests)
        yield _counter("upstream_lists", "Times that all was read from it.", counts.relists)
        yield _gauge(
            "upstream_malformed_entries", "Its entries that cannot be read, now.", counts.malformed
        )
        yield _counter(
            "upstream_passed_over", "Such entries met so far, each once.", counts.passed_over
        )

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with its present value."""
        server, ledger = self._server, self._server.ledger
        state = ledger.state
        yield _gauge("clients", "Clients that are connected.", len(server.sessions))
        yield _gauge("watchers", "Clients that are sent what changes.", server.watchers)
        yield _gauge("nodes", "Nodes that hold a lease.", len(state.holdings.nodes))
        reservations = len(state.holdings.reservations)
        yield _gauge("reservations", "Nodes for which subnets are reserved.", reservations)
        yield _gauge("revision", "Revision of the store.", state.revision)
        yield _gauge(
            "storage_failing", "1 while nothing can be written.", ledger.failure is not None
        )
        yield _counter("commits", "Transactions written.", ledger.commits)
        yield _counter("storage_failures", "Transactions that failed.", ledger.failures)
        yield _counter("feed_bytes", "Bytes of the feed, once per change.", server.feed.total_bytes)
        requests = CounterMetricFamily(
            "podway_hub_requests", "Requests by type and result.", labels=("type", "result")
        )
        for (kind, result), count in server.requests.items():
            requests.add_metric((kind, result), count)
        yield requests
        drops = CounterMetricFamily(
            "podway_hub_drops", "Clients that the hub dropped, by reason.", labels=("reason",)
        )
        for code, count in server.drops.items():
            drops.add_metric((code,), count)
        yield drops
        yield from self._upstream()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"podway_hub_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"podway_hub_{name}", text, value=value)


def build_routes(server: HubServer) -> dict[str, Route]:
    """Return /metrics, /healthz (it runs) and /readyz (it can serve, and write)."""
    registry = CollectorRegistry()
    registry.register(HubCollector(server))

    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    def ready() -> Response:
        if server.ledger.failure is not None:
            return Response(f"storage fails: {server.ledger.failure}\n".encode(), 503)
        if server.ledger.state.network is None:
            reason = server.ledger.state.network_error or "no network is configured"
            return Response(f"{reason}\n".encode(), 503)
        return Response(b"ready\n")

    return {"/metrics": metrics, "/healthz": lambda: Response(b"ok\n"), "/readyz": ready}
