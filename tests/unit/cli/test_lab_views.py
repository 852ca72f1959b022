"""What the commands of the lab print for people, compared with golden files."""

from ipaddress import ip_address

import pytest

from golden_files import Golden
from podway.cli.lab_views import (
    describe_lab,
    lab_fields,
    render_added,
    render_labs,
    render_matrix,
    render_measurement,
    render_pods,
    render_removed,
)
from podway.cli.output import Style
from podway.lab.labs import Added
from podway.lab.ping import Outcome
from podway.lab.specs import LabSpec
from podway.lab.state import Pod
from podway.lab.teardown import Removed
from podway.lab.throughput import Measurement
from podway.model.addresses import Family
from unit.cli.screens import COLOURED, PLAIN, lines, status


def outcomes() -> list[Outcome]:
    pods = {"p1": ("10.244.1.2", "fd00::1:2"), "p2": ("10.244.2.2", "fd00::2:2")}
    return [
        Outcome(
            source=source,
            target=target,
            address=ip_address(address),
            rtt_ms=None if (source, target, at) == ("p2", "p1", 1) else 0.05 + len(address) / 100,
            reason="no reply",
        )
        for source in pods
        for target, addresses in pods.items()
        for at, address in enumerate(addresses)
    ]


@pytest.mark.parametrize(
    ("unaware", "told"),
    [
        pytest.param({}, ["n3 is ready, and known to every node."], id="all"),
        pytest.param(
            {"n1": "its agent does not run: start it", "n2": "it has not programmed n3"},
            [
                "n3 is ready, and known to every node but n1, n2.",
                "n1: its agent does not run: start it",
                "n2: it has not programmed n3",
            ],
            id="two have not heard",
        ),
    ],
)
def test_added(unaware: dict[str, str], told: list[str]) -> None:
    spec = LabSpec(name="blue", nodes=(1, 2, 3))
    assert render_added(Added(spec, "n3", unaware)).splitlines() == told


@pytest.mark.parametrize(
    ("name", "style"),
    [pytest.param("plain", PLAIN, id="plain"), pytest.param("coloured", COLOURED, id="coloured")],
)
def test_matrix(golden: Golden, name: str, style: Style) -> None:
    shown = render_matrix(outcomes(), {"p1": "on n1", "p2": "on n2"}, style)
    golden(f"cli/matrix-{name}.txt", lines(shown))


def test_lab(golden: Golden) -> None:
    spec = LabSpec(name="blue", nodes=(1, 2), families=(Family.IPV4, Family.IPV6))
    result = {"ips": [{"address": "10.244.1.2/24"}, {"address": "fd00::2/64"}]}
    labs = [
        {"lab": "blue", "nodes": 2, "pods": 1, "kind": describe_lab(spec), "damage": ""},
        {"lab": "old", "nodes": 0, "pods": 0, "kind": "", "damage": "lab.json is missing"},
    ]
    tcp = Measurement(
        source="p1",
        target="p2",
        address="10.244.2.2",
        udp=False,
        streams=1,
        seconds=2.0,
        bits_per_second=10.5e9,
        retransmits=3,
    )
    udp = Measurement(
        source="p1",
        target="p2",
        address="10.244.2.2",
        udp=True,
        streams=2,
        seconds=2.0,
        bits_per_second=2.5e9,
        lost_percent=0.25,
    )
    shown = [
        *render_labs(labs, PLAIN),
        *render_labs([], PLAIN),
        *render_pods([Pod(name="p1", node="n1", container_id="ab", result=result)], PLAIN),
        *render_pods([], PLAIN),
        render_removed(Removed(lab="blue", namespaces=("a", "b"), processes=1, files=7)),
        render_removed(Removed(lab="blue", namespaces=(), processes=0, files=0)),
        render_measurement(tcp, PLAIN),
        render_measurement(udp, PLAIN),
    ]
    golden("cli/lab.txt", lines(shown))


@pytest.mark.parametrize(
    ("used", "told"),
    [
        pytest.param([], "vxlan, pods bridge", id="nobody answers"),
        pytest.param([("vxlan", "bridge")] * 2, "vxlan, pods bridge", id="as it was made"),
        pytest.param([("host-gw", "routed")] * 2, "host-gw, pods routed", id="applied since"),
        pytest.param(
            [("host-gw", "bridge"), ("vxlan", "bridge")],
            "host-gw and vxlan, pods bridge",
            id="on its way",
        ),
        pytest.param([(None, None), ("udp", "bridge")], "udp, pods bridge", id="one knows nothing"),
    ],
)
def test_a_lab_is_what_its_agents_use(used: list[tuple[str | None, str]], told: str) -> None:
    spec = LabSpec(name="blue", nodes=(1, 2))
    statuses = {
        f"n{number}": status(backend=backend, attach=attach)
        for number, (backend, attach) in enumerate(used, 1)
    }
    assert describe_lab(spec, statuses) == f"2 nodes, {told}, IPv4, flat underlay"
    fields = lab_fields(spec, statuses)
    assert f"{fields['backend']}, pods {fields['attach']}" == told
