"""What commands about one node print for people, compared with golden files."""

from typing import Any

import pytest

from golden_files import Golden
from podway.cli.ipam import render_check, render_show
from podway.cli.output import Style
from podway.cli.status_view import render_cluster, render_status
from unit.cli.screens import COLOURED, NOW, PLAIN, lines, peer, status

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
