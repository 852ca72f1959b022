"""What commands print for people, compared with golden files."""

from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import Any, get_args

import pytest
from msgspec import structs

from golden_files import Golden
from podway.agent.views import view_diff
from podway.cli.diff import render_diff
from podway.cli.ipam import render_check, render_show
from podway.cli.kernel_objects import describe_object
from podway.cli.lab_views import (
    describe_lab,
    lab_fields,
    render_labs,
    render_matrix,
    render_measurement,
    render_pods,
    render_removed,
)
from podway.cli.network_view import network_fields, render_network
from podway.cli.node import render_nodes
from podway.cli.output import Style
from podway.cli.status_view import render_cluster, render_status
from podway.compute.pool_use import compute_use
from podway.diff.operations import Operation, Verb
from podway.lab.ping import Outcome
from podway.lab.specs import LabSpec
from podway.lab.state import Pod
from podway.lab.teardown import Removed
from podway.lab.throughput import Measurement
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    AllowedIp,
    Bridge,
    FdbEntry,
    Ipip,
    KernelObject,
    Link,
    Neighbour,
    NextHop,
    NftTable,
    Offload,
    Route,
    Rule,
    Sysctl,
    Tun,
    UdpPeer,
    UdpRelay,
    Veth,
    Vxlan,
    Wireguard,
    WireguardDevice,
    WireguardPeer,
    link_key,
)
from podway.model.networks import parse_network
from podway.model.nodes import Lease, Node
from podway.model.secret import Secret
from podway.store.protocol import NodeStatus, Reservation

NOW = 1_800_000_000.0
PLAIN, COLOURED = Style(), Style(coloured=True)


def peer(number: int, state: str = "programmed", reason: str = "") -> dict[str, Any]:
    return {
        "name": f"n{number}",
        "public_ips": [f"172.30.{number}.2"],
        "subnets": [f"10.244.{number}.0/24"],
        "state": state,
        "reason": reason,
    }


def status(**fields: Any) -> dict[str, Any]:
    return {
        "node": "n1",
        "backend": "vxlan",
        "attach": "bridge",
        "network": ["10.244.0.0/16", "fd00:10:244::/48"],
        "subnets": ["10.244.1.0/24", "fd00:10:244:1::/64"],
        "mtu": {"ipv4": 1450, "ipv6": 1430},
        "uplink": {"dev": "eth0", "mtu": 1500, "addresses": ["172.30.1.2/16"]},
        "store": {
            "url": "tcp:172.30.0.2:7472",
            "state": "connected",
            "since_s": 754.2,
            "revision": 12,
            "reason": "",
        },
        "ready": True,
        "ready_reasons": [],
        "peers": [peer(2), peer(3)],
        "endpoints": 2,
        "addresses": {
            "used": 2,
            "cooling": 1,
            "free": 250 + 2**64 - 3,
            "ipv4": {"used": 1, "cooling": 1, "free": 250},
            "ipv6": {"used": 1, "cooling": 0, "free": 2**64 - 3},
        },
        "drift_repaired": 0,
        "conflicts": [],
        "failing": [],
        "last_reconcile": {"operations": 4, "failed": 0, "duration_ms": 3.14, "at": NOW - 12},
        **fields,
    }


TWO_UPLINKS = {
    "dev": "eth0",
    "mtu": 1500,
    "addresses": ["172.30.1.2/16"],
    "ipv6_by": {"dev": "eth1", "mtu": 9000, "addresses": ["fd30:0:0:1::2/48"]},
}
NEW = status(
    backend=None,
    network=[],
    subnets=[],
    mtu={},
    uplink=None,
    peers=[],
    endpoints=0,
    ready=False,
    ready_reasons=["the store was never reached"],
    store={
        "url": "tcp:172.30.0.2:7472",
        "state": "never",
        "since_s": 3.0,
        "revision": 0,
        "reason": "connection refused",
    },
    last_reconcile=None,
)
TROUBLED = status(
    ready=False,
    ready_reasons=["1 operation fails"],
    peers=[peer(2), peer(3, "skipped", "its address is n2's"), peer(4, "pending")],
    failing=[{"operation": "create route 2 254 10.244.4.0/24 0", "error": "EPERM", "since_s": 61}],
    conflicts=[{"object": "route 2 254 10.244.3.0/24 0", "claimants": ["peer/n2", "peer/n3"]}],
    drained=True,
    stranded=[{"pod": "default/web", "addresses": ["10.244.7.5", "fd00:10:244:7::5"]}],
    drift_repaired=1,
    checksum_errors=12,
    forward="iptables-legacy: chain FORWARD drops what it does not know",
    forward_drops=["inet firewalld filter_FORWARD"],
    last_reconcile={"operations": 9, "failed": 1, "duration_ms": 12.0, "at": NOW - 3600},
)


@pytest.mark.parametrize(
    ("name", "answer", "style"),
    [
        pytest.param("ready", status(), PLAIN, id="all is well"),
        pytest.param("ready-coloured", status(), COLOURED, id="all is well, on a terminal"),
        pytest.param("new", NEW, PLAIN, id="just started, no store"),
        pytest.param("two-uplinks", status(uplink=TWO_UPLINKS), PLAIN, id="two uplinks"),
        pytest.param("troubled", TROUBLED, PLAIN, id="all that can be wrong"),
        pytest.param(
            "many-peers",
            status(peers=[*(peer(each) for each in range(2, 40)), peer(40, "pending")]),
            PLAIN,
            id="many peers, the bad one first",
        ),
    ],
)
def test_status(golden: Golden, name: str, answer: dict[str, Any], style: Style) -> None:
    golden(f"cli/status-{name}.txt", lines(render_status(answer, style, NOW)))


def test_cluster(golden: Golden) -> None:
    statuses = {"n10": status(node="n10"), "n1": status(), "n3": TROUBLED}
    shown = render_cluster(statuses, {"n2": "no agent listens"}, PLAIN)
    golden("cli/cluster.txt", lines(shown))


OBJECTS: list[KernelObject] = [
    Link(
        name="podway.1",
        kind=Vxlan(vni=1, local=ip_address("172.30.1.2"), underlay="eth0", port=8472),
        mtu=1450,
    ),
    Link(name="podway.ipip", kind=Ipip(local=IPv4Address("172.30.1.2")), mtu=1480),
    Link(name="podway-wg", kind=Wireguard(), mtu=1420),
    Link(name="podway0", kind=Tun(), mtu=1472),
    Link(name="pw0123", kind=Veth(), master="cni0", mtu=1450),
    Link(name="cni0", kind=Bridge(), up=False),
    Address("cni0", ip_interface("10.244.1.1/24")),
    Route(
        dst=ip_network("10.244.2.0/24"), dev="podway.1", via=ip_address("10.244.2.0"), onlink=True
    ),
    Route(dst=ip_network("10.244.9.0/24"), kind="blackhole", table=100, metric=5),
    Route(
        dst=ip_network("fd00::/64"),
        nexthops=(NextHop("a", ip_address("fe80::1")), NextHop("b", onlink=True)),
        src=ip_address("fd00::1"),
        metric=1024,
        mtu=1430,
    ),
    Neighbour("podway.1", ip_address("10.244.2.0"), "0a:58:0a:f4:02:00"),
    Neighbour("pw0123", ip_address("169.254.1.1"), proxy=True),
    FdbEntry("podway.1", "0a:58:0a:f4:02:00", ip_address("172.30.2.2")),
    WireguardDevice(dev="podway-wg", public_key="a" * 43 + "=", listen_port=51820),
    WireguardPeer(
        dev="podway-wg",
        public_key="b" * 43 + "=",
        endpoint=ip_address("2001:db8::2"),
        port=51820,
        psk=Secret("hidden"),
        keepalive_s=25,
    ),
    AllowedIp("podway-wg", ip_network("10.244.2.0/24"), "b" * 43 + "="),
    UdpRelay(
        dev="podway0",
        port=8285,
        addresses=(ip_address("172.30.1.2"), ip_address("2001:db8::1")),
        subnets=(ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
    ),
    UdpPeer(
        dev="podway0",
        prefix=ip_network("10.244.2.0/24"),
        public_ip=ip_address("172.30.2.2"),
        port=8285,
        segments=True,
    ),
    UdpPeer(
        dev="podway0",
        prefix=ip_network("fd00:10:244:2::/64"),
        public_ip=ip_address("2001:db8::2"),
        port=8285,
        segments=False,
    ),
    Rule(family=Family.IPV4, priority=100, table=7, src=ip_network("10.244.0.0/16"), fwmark=16),
    Sysctl("ipv4/conf/pw0123/proxy_arp", "1", "pw0123"),
    Offload("podway.1", False),  # noqa: FBT003
    NftTable("inet", "podway", "chain x {}"),
]


def told(item: KernelObject) -> dict[str, Any]:
    """Return *item* as the agent's ``diff`` tells it."""
    return view_diff([Operation(Verb.CREATE, item.key, desired=item)])[0]


def test_diff(golden: Golden) -> None:
    route = Route(dst=ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("172.30.2.2"))
    old = structs.replace(route, via=ip_address("172.30.3.2"), mtu=1400)
    operations = [
        *map(told, OBJECTS),
        *view_diff(
            [
                Operation(Verb.CHANGE, route.key, desired=route, observed=old),
                Operation(Verb.DELETE, route.key, observed=old),
                Operation(Verb.DELETE, link_key("gone")),
            ]
        ),
    ]
    golden("cli/diff.txt", lines([*render_diff(operations, PLAIN), *render_diff([], PLAIN)]))


def test_every_kind_of_object_has_words() -> None:
    for item in OBJECTS:
        shown = told(item)
        assert describe_object(shown["object"], shown["desired"]) != str(item.key)
    assert {type(item) for item in OBJECTS} == set(get_args(KernelObject))


def test_ipam(golden: Golden) -> None:
    held = {
        "address": "10.244.1.2",
        "state": "held",
        "network": "podway",
        "container_id": "0123456789abcdef",
        "ifname": "eth0",
        "pod": "default/web",
        "netns": "/run/netns/x",
        "released_s": None,
    }
    released = {**held, "address": "10.244.1.3", "state": "released", "pod": "", "released_s": 12.5}
    pool = {"subnet": "10.244.1.0/24", "used": 1, "cooling": 1, "free": 251}
    problem = {
        "address": "10.244.1.9",
        "problem": "its namespace is gone",
        "what_to_do": "podway ipam release 10.244.1.9",
    }
    parts = [
        render_show({"pools": [pool], "addresses": [held, released]}, PLAIN),
        render_show({"pools": [pool], "addresses": []}, PLAIN),
        render_check({"checked": 3, "problems": [problem]}, PLAIN),
        render_check({"checked": 1, "problems": []}, PLAIN),
    ]
    golden("cli/ipam.txt", lines([line for part in parts for line in (*part, "---")]))


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


def test_nodes(golden: Golden) -> None:
    lease = Lease(subnet=ip_network("10.244.1.0/24"), public_ip=ip_address("172.30.1.2"))
    node = Node(name="n1", backend="vxlan", leases=(lease,))
    known = [
        NodeStatus(node=node, revision=3, ttl_s=86400, expires_in_s=80000.0),
        NodeStatus(node=node, revision=4, ttl_s=0, expires_in_s=None),
    ]
    kept = [Reservation("n9", (ip_network("10.244.9.0/24"), ip_network("fd00:9::/64")))]
    shown = [*render_nodes(known, kept, PLAIN), "---", *render_nodes([], [], PLAIN)]
    golden("cli/nodes.txt", lines(shown))


def test_network(golden: Golden) -> None:
    text = """{
        "Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:10:244::/48",
        "Backend": {"Type": "vxlan", "VNI": 7, "DirectRouting": true},
        "NonMasqueradeCIDRs": ["10.0.0.0/8"]
    }"""
    plain = '{"Network": "10.1.0.0/16", "Backend": {"Type": "host-gw"}, "Masquerade": false}'
    shown = [render_network(parse_network(each), PLAIN) for each in (text, plain)]
    golden("cli/network.txt", lines([*shown[0], "---", *shown[1]]))


DRAINING = """{
    "Network": "10.8.0.0/16",
    "Networks": [
        {"Network": "10.244.0.0/16", "Drain": true}, {"Network": "10.9.0.0/16", "Drain": true}
    ],
    "EnableIPv6": true, "IPv6Network": "fd00:10:244::/48"
}"""


def holder(number: int, *subnets: str) -> Node:
    leases = tuple(
        Lease(subnet=ip_network(subnet), public_ip=ip_address(f"172.30.{number}.2"))
        for subnet in subnets
    )
    return Node(name=f"n{number}", backend="vxlan", leases=leases)


def test_a_network_and_who_uses_it(golden: Golden) -> None:
    network = parse_network(DRAINING)
    nodes = [
        holder(1, "10.8.1.0/24", "fd00:10:244:1::/64"),
        *(holder(number, f"10.244.{number}.0/24") for number in range(2, 9)),
        holder(9, "192.168.9.0/24"),
    ]
    kept = {"n2": (ip_network("10.244.2.0/24"),), "x": (ip_network("10.8.7.0/24"),)}
    uses = compute_use(network, nodes, kept)
    unknown = render_network(network, PLAIN)
    shown = lines([*render_network(network, PLAIN, uses), "---", *unknown])
    golden("cli/network-use.txt", shown)
    assert [fields["network"] for fields in network_fields(uses)] == [
        *("10.8.0.0/16", "10.244.0.0/16", "10.9.0.0/16", "fd00:10:244::/48", None)
    ]
    assert network_fields(uses)[0] == {
        "network": "10.8.0.0/16",
        "drains": False,
        "room": 255,
        "leased": {"n1": "10.8.1.0/24"},
        "reserved": {"x": "10.8.7.0/24"},
    }
    assert len(network_fields(uses)[1]["leased"]) == 7
    assert network_fields(uses)[1]["reserved"] == {}, "what is leased counts once"
    assert network_fields(uses)[-1]["leased"] == {"n9": "192.168.9.0/24"}


def lines(shown: list[str]) -> str:
    return "\n".join(shown) + "\n"


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
