"""The Store contract against a real API server."""

from pathlib import Path

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
from podway.store.protocol import (
    ClaimRefused,
    Delta,
    LeaseLost,
    Snapshot,
    StoreAway,
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
