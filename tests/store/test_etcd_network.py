"""The network's configuration in etcd: it changes, goes, comes, and says less than it might."""

from ipaddress import ip_address, ip_network

import pytest

from hub.clients import next_event
from hub.hub_process import run_scenario
from podway.model.addresses import Family
from podway.model.nodes import Claim, VtepData, Wish
from podway.store.protocol import ClaimRefused, Delta, Snapshot
from store.etcd_process import EtcdProcess
from store.flannel_nodes import CONFIG, claim, golden, subnets


def test_a_lease_of_the_old_network_is_given_up(shared: EtcdProcess, prefix: str) -> None:
    """As flannel does when the network is cut anew: the key that does not fit goes."""
    shared.put(f"{prefix}/subnets/10.5.52.0-24", golden("vxlan")[1])
    shared.put(f"{prefix}/config", '{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan"}}')

    async def scenario() -> None:
        store = shared.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        assert node.leases[0].subnet.subnet_of(ip_network("10.6.0.0/16"))  # type: ignore[arg-type]
        assert [status.node for status in await store.list_nodes()] == [node]
        await store.close()

    run_scenario(scenario)


def test_a_second_family_for_a_network_that_runs(shared: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = shared.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        shared.put(
            f"{prefix}/config",
            '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48",'
            '"Backend":{"Type":"vxlan"}}',
        )
        data = VtepData(vni=1, mac="b2:83:0a:2f:61:09")
        ipv6 = Wish(family=Family.IPV6, public_ip=ip_address("fd00:64::3"), data=data)
        one = claim("n1", "192.168.64.3")
        both = Claim(name="n1", backend="vxlan", wishes=(*one.wishes, ipv6), ttl_s=3600)
        grown = await store.claim(both)
        assert grown.leases[0] == node.leases[0]
        assert len(grown.leases) == 2
        keys = [key.rpartition("/")[2] for key in shared.keys(f"{prefix}/subnets/")]
        assert keys == ["&".join(text.replace("/", "-") for text in subnets(grown))]
        assert [status.node for status in await store.list_nodes()] == [grown]
        await store.release("n1")
        assert list(shared.keys(f"{prefix}/")) == [f"{prefix}/config"]
        await store.close()

    run_scenario(scenario)


def test_a_network_that_goes_and_comes(shared: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = shared.open_store(prefix)
        events = store.watch()
        assert (await next_event(events, Snapshot)).network is not None
        shared.ctl("del", f"{prefix}/config")
        assert (await next_event(events, Snapshot)).network is None
        shared.put(f"{prefix}/config", '{"Network":"nonsense"}')
        delta = await next_event(events, Delta)
        assert delta.network is None
        assert "Network" in delta.network_error
        with pytest.raises(ClaimRefused):
            await store.claim(claim("n1", "192.168.64.3"))
        shared.put(f"{prefix}/config", CONFIG)
        assert (await next_event(events, Delta)).network is not None
        await store.close()

    run_scenario(scenario)


def test_a_network_without_a_backend_is_udp_as_flanneld_has_it(
    shared: EtcdProcess, prefix: str
) -> None:
    shared.put(f"{prefix}/config", '{"Network": "10.5.0.0/16"}')

    async def scenario() -> None:
        store = shared.open_store(prefix)
        events = store.watch()
        network = (await next_event(events, Snapshot)).network
        assert network is not None
        assert network.backend_name == "udp"
        with pytest.raises(ClaimRefused, match="udp"):
            await store.claim(claim("a", "192.0.2.1"))
        await store.close()

    run_scenario(scenario)


def test_nodes_without_a_backend_have_the_networks(shared: EtcdProcess, prefix: str) -> None:
    key, value = golden("udp")
    shared.put(f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        store = shared.open_store(prefix)
        events = store.watch()
        (node,) = (await next_event(events, Snapshot)).nodes
        assert node.backend == ""
        shared.put(f"{prefix}/config", '{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}')
        delta = await next_event(events, Delta)
        assert [(change.name, change.node and change.node.backend) for change in delta.changes] == [
            (key, "udp")
        ]
        await store.close()

    run_scenario(scenario)
