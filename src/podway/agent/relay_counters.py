"""The counters of the udp backend's relay, as metrics of the agent.

The relay is a process of its own, and asked only when somebody asks the agent. Where none runs,
there are none.
"""

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from podway.agent.settings import Settings
from podway.compute.backends.udp import DEVICE
from podway.compute.dressing import dressed_name
from podway.udp.control import ControlError, RelayClient
from podway.udp.counters import COUNTERS

# The event loop waits for it; the relay answers between two packets.
_ANSWER_S = 0.2


def relay_socket(settings: Settings) -> Path:
    """Return where the relay of the backend udp answers, under its device's name."""
    return settings.run_dir / "udp" / f"{dressed_name(DEVICE, settings.names)}.sock"


class RelayCounters(Collector):
    """Reads a relay's counters.

    Args:
        path: of its control socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def collect(self) -> Iterable[Metric]:
        """Yield ``podway_udp_<counter>_total`` for each counter."""
        try:
            relay = RelayClient(str(self._path), _ANSWER_S)
        except OSError:
            return
        try:
            counted = relay.counters()
        except (OSError, ControlError):
            return
        finally:
            relay.close()
        for name, text in COUNTERS.items():
            if name in counted:
                yield CounterMetricFamily(f"podway_udp_{name}", text, counted[name])
