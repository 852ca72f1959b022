"""Every backend, attachment, family and underlay: every pod reaches every pod, and the world."""

import itertools
from collections.abc import Callable
from typing import Any, get_args

import pytest

from lab.probes import eventually
from podway.lab.members import hub_station, pod_stations
from podway.lab.ping import Outcome, Station, ping_all
from podway.lab.runtime import add_pods, check_pod, remove_pods
from podway.lab.specs import LabSpec
from podway.model.addresses import Family
from podway.model.networks import Attach

FAMILIES = {
    "IPv4": (Family.IPV4,),
    "IPv6": (Family.IPV6,),
    "dual": (Family.IPV4, Family.IPV6),
}


def kind(backend: str, attach: str, families: str, *, routed: bool) -> Any:
    """Return one lab to try."""
    fields = {
        "backend": backend,
        "attach": attach,
        "families": FAMILIES[families],
        "routed_underlay": routed,
    }
    return pytest.param(
        fields,
        id=f"{backend} {attach} {families} {'routed' if routed else 'flat'}",
    )


KINDS = [
    *(
        kind(backend, attach, families, routed=routed)
        for backend, attach, families, routed in itertools.product(
            ("vxlan", "host-gw"), get_args(Attach), FAMILIES, (False, True)
        )
        if not (backend == "host-gw" and routed)
    ),
    # Attachments and families are the same code for all; each backend is tried once over all.
    # (ipip: netns/kernel/test_ipip.py, since the kernel that has it has no nf_tables for agents.)
    kind("wireguard", "bridge", "dual", routed=True),
    kind("wireguard", "routed", "IPv6", routed=False),
    kind("udp", "bridge", "dual", routed=True),
    kind("udp", "routed", "IPv4", routed=False),
    kind("extension", "bridge", "dual", routed=False),
    kind("alloc", "routed", "dual", routed=True),
]
# IP and ICMP headers; the outer headers of each tunnel with IPv4 and IPv6 outside.
HEADERS = {Family.IPV4: 20 + 8, Family.IPV6: 40 + 8}
OVERLAY = {
    "vxlan": {Family.IPV4: 50, Family.IPV6: 70},
    "udp": {Family.IPV4: 28, Family.IPV6: 48},
    "wireguard": {Family.IPV4: 80, Family.IPV6: 80},
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_pod_reaches_any_pod(make_lab: Callable[..., LabSpec], kind: dict[str, Any]) -> None:
    spec = make_lab(**kind)
    pods = add_pods(spec, ["p1", "p2", "p3"])
    assert sorted(pod.node for pod in pods) == ["n1", "n1", "n2"]
    assert all(len(pod.addresses) == len(spec.families) for pod in pods)
    stations = pod_stations(spec, pods)
    if spec.backend == "wireguard":
        # Two that greet each other in the same instant do not understand, and wait for 5 seconds.
        eventually(
            "handshakes are made", lambda: all(map(has_reply, ping_all(stations))), timeout_s=60
        )
    expect_all(ping_all(stations), 3 * 3 * len(spec.families))
    expect_full_packets(spec, stations, {pod.name: pod.node for pod in pods})
    # The hub knows no way to the pods: it answers only because they are masqueraded.
    hub = hub_station(spec)
    expect_all(ping_all(stations, [hub]), 3 * len(spec.families))
    for pod in pods:
        check_pod(spec, pod)
    remove_pods(spec, pods)


def has_reply(outcome: Outcome) -> bool:
    return outcome.rtt_ms is not None


def expect_all(outcomes: list[Outcome], count: int) -> None:
    assert len(outcomes) == count
    assert [each for each in outcomes if each.rtt_ms is None] == []


def expect_full_packets(spec: LabSpec, stations: list[Station], nodes: dict[str, str]) -> None:
    """Packets as large as the path's MTU pass unfragmented to any node, one byte more to none."""
    for family in spec.families:
        mtu = spec.mtu - (OVERLAY[spec.backend][family] if spec.backend in OVERLAY else 0)
        largest = mtu - HEADERS[family]
        single = [one_family(station, family) for station in stations]
        expect_all(ping_all(single, payload_bytes=largest), 9)
        beyond = ping_all(single, payload_bytes=largest + 1)
        others = [each for each in beyond if nodes[each.source] != nodes[each.target]]
        assert [each.reason for each in others] == ["packet too big"] * 4


def one_family(station: Station, family: Family) -> Station:
    own = tuple(each for each in station.addresses if each.version == (4 if family == 2 else 6))
    return Station(station.name, station.netns, own)
