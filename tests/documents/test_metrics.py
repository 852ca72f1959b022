"""The references name every metric of the daemons, with its type, and no other."""

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from documents.pages import Page, read_page
from hub.hub_process import run_scenario, running_hub
from lab.probes import leftovers
from podway.hub.metrics import build_routes
from podway.lab.labs import bring_up
from podway.lab.names import namespace_of
from podway.lab.progress import silent
from podway.lab.specs import LabSpec
from podway.lab.teardown import take_down
from podway.store.counts import StoreCounts

_METRIC = re.compile(r"`(podway_[a-z_]+)`")
_READ = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9472/metrics').read().decode())"
)


def named_in(page: Page) -> dict[str, str]:
    """Return the metrics in the tables of *page*, each with its type ("" where no column says)."""
    rows = [line for line in page.text.splitlines() if line.startswith("| `podway_")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {
        name: cell[1] if cell[1] in {"counter", "gauge", "histogram"} else "counter"
        for cell in cells
        for name in _METRIC.findall(cell[0])
    }


def told_by(text: str) -> dict[str, str]:
    """Return what a daemon serves: type by name, as Prometheus stores it.

    What is ``_created`` beside it is the client library's: when the metric began.
    """
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


@pytest.fixture
def lab() -> Iterator[LabSpec]:
    """Give a lab whose agent has all metrics: of a store that counts, and of the backend udp."""
    name = f"d{secrets.token_hex(4)}"
    try:
        yield bring_up(LabSpec(name=name, nodes=(1,), backend="udp", store="etcd"), silent)
    finally:
        take_down(name, silent)
        assert leftovers(name) == []


@pytest.mark.root
@pytest.mark.lab
def test_the_agent_s(lab: LabSpec) -> None:
    node = namespace_of(lab.name, "n1")
    done = subprocess.run(
        ["ip", "netns", "exec", node, sys.executable, "-c", _READ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert named_in(read_page("docs/reference/agent.md")) == told_by(done.stdout)


def test_the_hub_s() -> None:
    named = named_in(read_page("docs/reference/hub.md"))

    async def scenario() -> None:
        async with running_hub() as hub:
            hub.server.upstream_counts = StoreCounts()  # as one before another store has
            assert named == told_by(build_routes(hub.server)["/metrics"]().body.decode())

    run_scenario(scenario)
