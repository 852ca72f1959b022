"""What a store reads: Nodes as anybody may have left them, in pages, and the network's file."""

from pathlib import Path

import pytest

from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import (
    VXLAN,
    claim,
    net_conf,
    next_event,
    opened,
    run_scenario,
)
from podway.store.kube_api import KubeApiOptions
from podway.store.protocol import ClaimRefused, Delta, Snapshot, StoreError


def test_heartbeats_are_no_events(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    admin.add_node("n1", "10.244.1.0/24")
    admin.add_node("n2", "10.244.2.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            first = await store.claim(claim("n1"))
            events = store.watch()
            assert (await next_event(events, Snapshot)).nodes == (first,)
            for number in range(3):
                ready = {"type": "Ready", "status": "True", "reason": f"beat{number}"}
                admin.patch("/api/v1/nodes/n1/status", {"status": {"conditions": [ready]}})
            second = await store.claim(claim("n2", "192.0.2.2"))
            changes = (await next_event(events, Delta)).changes
            assert [(c.name, c.node) for c in changes] == [("n2", second)]

    run_scenario(scenario)


def test_what_others_wrote_wrong_is_passed_over_and_named(
    server: KubeServer, admin: Admin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"kube_subnet_manager": "true", "backend_type": "vxlan", "public_ip": "192.0.2.9"}
    vtep = '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}'
    for number, (cidr, wrong) in enumerate(
        [
            ("10.244.1.0/24", {"backend_data": "{"}),
            ("10.244.2.0/24", {"backend_data": '{"VNI":1,"VtepMAC":"; reboot"}'}),
            ("10.244.3.0/24", {"public_ip": "::1"}),
            ("10.9.0.0/24", {}),
        ]
    ):
        admin.add_node(f"bad{number}", cidr)
        admin.annotate(f"bad{number}", **{**good, "backend_data": vtep, **wrong})
    admin.add_node("fine", "10.244.9.0/24")
    admin.annotate("fine", **good, backend_data=vtep)
    admin.add_node("other", "10.244.10.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            events = store.watch()
            snapshot = await next_event(events, Snapshot)
            assert [node.name for node in snapshot.nodes] == ["fine"]
            assert sorted(store.skipped) == ["bad0", "bad1", "bad2", "bad3"]
            admin.annotate("bad0", backend_data=vtep)
            assert (await next_event(events, Delta)).changes[0].node is not None
            assert "bad0" not in store.skipped
            assert (store.counts.malformed, store.counts.passed_over) == (3, 4)
            assert store.counts.relists == 1

    run_scenario(scenario)
    named = [
        vars(record)["fields"]["node"]
        for record in caplog.records
        if "passed over" in record.message
    ]
    assert sorted(named) == ["bad0", "bad1", "bad2", "bad3"]


def test_the_network_follows_its_file(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path, conf="{") as store:
            events = store.watch()
            snapshot = await next_event(events, Snapshot)
            assert snapshot.network is None
            assert "net-conf.json" in snapshot.network_error
            with pytest.raises(ClaimRefused, match=r"net-conf\.json"):
                await store.claim(claim("n1"))
            net_conf(tmp_path, VXLAN)
            snapshot = await next_event(events, Snapshot)
            assert snapshot.network is not None
            net_conf(tmp_path, "nonsense")
            assert "must be JSON" in (await next_event(events, Delta)).network_error

    run_scenario(scenario)


def test_a_network_without_a_backend_is_udp_as_flanneld_has_it(
    server: KubeServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(server, tmp_path, conf={"Network": "10.244.0.0/16"}) as store:
            network = (await next_event(store.watch(), Snapshot)).network
            assert network is not None
            assert network.backend_name == "udp"

    run_scenario(scenario)


def test_an_administrator_sees_nodes_and_is_told_what_is_kubernetes_own(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")
    admin.add_node("n2", "10.244.2.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            node = await store.claim(claim("n2"))
            statuses = await store.list_nodes()
            assert [(each.node, each.expires_in_s) for each in statuses] == [(node, None)]
            stored = await store.get_network()
            assert stored is not None
            assert "10.244.0.0/16" in stored.text
            assert await store.list_reservations() == ()
            with pytest.raises(StoreError, match="ConfigMap"):
                await store.put_network("{}")
            with pytest.raises(StoreError, match="podCIDRs"):
                await store.reserve("n1", [node.leases[0].subnet])

    run_scenario(scenario)


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_lists_come_in_pages(server: KubeServer, admin: Admin, tmp_path: Path, page: int) -> None:
    for number in range(5):
        admin.add_node(f"n{number}")

    async def scenario() -> None:
        async with opened(server, tmp_path, api=KubeApiOptions(page=page)) as store:
            records, revision = await store.api.list_nodes()
            assert [record.name for record in records] == ["n0", "n1", "n2", "n3", "n4"]
            assert revision > 0
            assert store.counts.requests == -(-5 // page)

    run_scenario(scenario)
