"""The Store contract against a real API server."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import (
    DUAL,
    VXLAN,
    claim,
    net_conf,
    next_event,
    opened,
    run_scenario,
    until,
)
from podway.model.addresses import Family
from podway.model.nodes import Node
from podway.store.kube_api import KubeApiOptions
from podway.store.protocol import (
    ClaimRefused,
    Delta,
    LeaseLost,
    Snapshot,
    StoreAway,
    StoreError,
)


def test_a_claim_is_what_the_others_see(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    admin.add_node("n1", "10.244.1.0/24")
    admin.add_node("n2", "10.244.2.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            first = await store.claim(claim("n1"))
            assert [str(lease.subnet) for lease in first.leases] == ["10.244.1.0/24"]
            events = store.watch()
            snapshot = await next_event(events, Snapshot)
            assert snapshot.nodes == (first,)
            assert snapshot.network is not None
            assert snapshot.network.backend_name == "vxlan"
            second = await store.claim(claim("n2", "192.0.2.2"))
            delta = await next_event(events, Delta)
            assert [(c.name, c.node) for c in delta.changes] == [("n2", second)]
            await store.release("n1")
            delta = await next_event(events, Delta)
            assert [(c.name, c.node) for c in delta.changes] == [("n1", None)]

    run_scenario(scenario)


def test_a_claim_is_made_once(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """What stands on the Node already is not written again: a restart is no event."""
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            first = await store.claim(claim("n1"))
            before = admin.node("n1")["metadata"]["resourceVersion"]
            assert await store.claim(claim("n1")) == first
            await store.renew("n1")
            assert admin.node("n1")["metadata"]["resourceVersion"] == before

    run_scenario(scenario)


def test_dual_stack_and_back(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """A family that the network no longer has leaves no annotation behind."""
    admin.add_node("n1", "10.244.1.0/24", "fd00:10:244:1::/64")

    async def scenario() -> None:
        async with opened(server, tmp_path, conf=DUAL) as store:
            node = await store.claim(claim("n1", address_v6="2001:db8::1"))
            assert [lease.family for lease in node.leases] == [Family.IPV4, Family.IPV6]
            assert "flannel.alpha.coreos.com/public-ipv6" in admin.annotations("n1")
            net_conf(tmp_path, VXLAN)
            node = await store.claim(claim("n1"))
            assert [lease.family for lease in node.leases] == [Family.IPV4]
            assert not [key for key in admin.annotations("n1") if "v6" in key]

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("cidrs", "annotations", "told"),
    [
        pytest.param((), {}, "--allocate-node-cidrs", id="no podCIDRs"),
        pytest.param(("10.9.1.0/24",), {}, "outside of the network", id="outside"),
        pytest.param(("fd00:10:244:1::/64",), {}, "no IPv4 subnet", id="another family"),
        pytest.param(
            ("10.244.1.0/24",),
            {"flannel.alpha.coreos.com/public-ip-overwrite": "nonsense"},
            "public-ip-overwrite",
            id="overwrite that is no address",
        ),
    ],
)
def test_claims_refused(  # noqa: PLR0917
    server: KubeServer,
    admin: Admin,
    tmp_path: Path,
    cidrs: tuple[str, ...],
    annotations: dict[str, str],
    told: str,
) -> None:
    admin.add_node("n1", *cidrs, **annotations)

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            with pytest.raises(ClaimRefused, match=told):
                await store.claim(claim("n1"))
            assert "flannel.alpha.coreos.com/public-ip" not in admin.annotations("n1")

    run_scenario(scenario)


def test_a_claim_without_a_node_names_it(server: KubeServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            with pytest.raises(ClaimRefused, match="'nobody'"):
                await store.claim(claim("nobody"))
            await store.release("nobody")
            with pytest.raises(LeaseLost):
                await store.renew("nobody")

    run_scenario(scenario)


def test_a_claim_for_another_backend_is_refused(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            with pytest.raises(ClaimRefused, match="host-gw"):
                await store.claim(claim("n1", backend="host-gw", data=None))

    run_scenario(scenario)


@pytest.mark.parametrize("name", ["public-ip-overwrite", "node-public-ip"])
def test_an_operator_names_the_public_address(
    server: KubeServer, admin: Admin, tmp_path: Path, name: str
) -> None:
    overwrite = {f"flannel.alpha.coreos.com/{name}": "203.0.113.7"}
    admin.add_node("n1", "10.244.1.0/24", **overwrite)

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            node = await store.claim(claim("n1"))
            assert str(node.leases[0].public_ip) == "203.0.113.7"
            public_ip = admin.annotations("n1")["flannel.alpha.coreos.com/public-ip"]
            assert public_ip == "203.0.113.7"

    run_scenario(scenario)


def test_an_operator_names_another_address_while_the_node_runs(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    """Whoever claimed hears that the Node should be another, claims anew, and so do its peers."""
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            node = await store.claim(claim("n1"))
            events = store.watch()
            assert (await next_event(events, Snapshot)).nodes == (node,)
            for text, expected in (("203.0.113.7", "203.0.113.7"), (None, "192.0.2.1")):
                admin.annotate("n1", public_ip_overwrite=text)
                heard: Node | None = node
                while heard == node:  # what was written is told, too
                    heard = (await next_event(events, Delta)).changes[0].node
                assert heard is not None
                assert str(heard.leases[0].public_ip) == expected
                node = await store.claim(claim("n1"))
                assert node == heard
                assert admin.annotations("n1")["flannel.alpha.coreos.com/public-ip"] == expected
            admin.annotate("n1", public_ip_overwrite="not an address")
            await until(lambda: "not an address" in str(store._view.cache.get("n1")))
            assert admin.annotations("n1")["flannel.alpha.coreos.com/public-ip"] == "192.0.2.1"

    run_scenario(scenario)


def test_renewal_notices_what_was_taken_away(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            await store.claim(claim("n1"))
            admin.annotate("n1", kube_subnet_manager=None)
            with pytest.raises(LeaseLost):
                await store.renew("n1")

    run_scenario(scenario)


def test_a_node_made_anew_has_another_subnet(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            first = await store.claim(claim("n1"))
            events = store.watch()
            assert (await next_event(events, Snapshot)).nodes == (first,)
            admin.remove_node("n1")
            assert (await next_event(events, Delta)).changes[0].node is None
            admin.add_node("n1", "10.244.9.0/24")
            second = await store.claim(claim("n1"))
            assert str(second.leases[0].subnet) == "10.244.9.0/24"
            assert (await next_event(events, Delta)).changes[0].node == second

    run_scenario(scenario)


def condition(admin: Admin, name: str) -> dict[str, Any]:
    conditions = admin.node(name)["status"].get("conditions", [])
    return next((each for each in conditions if each["type"] == "NetworkUnavailable"), {})


def is_available(admin: Admin, name: str) -> bool:
    return bool(condition(admin, name)["status"] == "False")


def test_the_network_is_said_to_be_available(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    """Whoever says the opposite is contradicted, for as long as it takes."""
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            events = store.watch()
            await next_event(events, Snapshot)
            await store.claim(claim("n1"))
            assert condition(admin, "n1")["reason"] == "FlannelIsUp"
            for _ in range(2):
                opposite = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute"}
                admin.patch("/api/v1/nodes/n1/status", {"status": {"conditions": [opposite]}})
                await until(lambda: condition(admin, "n1")["status"] == "False")

    run_scenario(scenario)


def test_every_node_of_a_hub_is_said_to_be_available(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    names = ("n1", "n2")
    for number, name in enumerate(names, 1):
        admin.add_node(name, f"10.244.{number}.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            events = store.watch()
            await next_event(events, Snapshot)
            for name in names:
                await store.claim(claim(name))
            for name in names:
                opposite = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute"}
                admin.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [opposite]}})
                await until(partial(is_available, admin, name))

    run_scenario(scenario)


def test_the_condition_is_left_alone_when_told_so(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path, set_available=False) as store:
            await store.claim(claim("n1"))
            assert condition(admin, "n1") == {}

    run_scenario(scenario)


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


def test_a_closed_store_answers_nothing(server: KubeServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            events = store.watch()
            await next_event(events, Snapshot)
            await store.close()
            assert [event async for event in events] == []
            with pytest.raises(StoreAway):
                await store.renew("n1")

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
