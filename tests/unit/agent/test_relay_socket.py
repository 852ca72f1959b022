"""Where the counters of an instance's relay are asked for."""

from pathlib import Path

import pytest

from podway.agent.relay_counters import relay_socket
from podway.agent.settings import Settings


@pytest.mark.parametrize(
    ("instance", "prefix", "dev"),
    [
        pytest.param("", "", "podway0", id="usual"),
        pytest.param("blue", "", "blue0", id="an instance"),
        pytest.param("", "flannel", "flannel0", id="in flanneld's place"),
        pytest.param("blue", "flannel", "flannel0", id="an instance in flanneld's place"),
    ],
)
def test_the_relay_has_its_devices_name(instance: str, prefix: str, dev: str) -> None:
    settings = Settings(
        node="n", store="unix:/s", run_dir=Path("/r"), instance=instance, device_prefix=prefix
    )
    assert relay_socket(settings) == Path(f"/r/udp/{dev}.sock")
