"""Agents that leave pods to others, and agents beside others, over a kernel in memory."""

from pathlib import Path
from typing import Any

import pytest

from agent.nodes import new_kernel, run, running_node, until
from hub.hub_process import running_hub
from podway.cni.errors import INVALID_CONFIG
from podway.model.kernel import Key, NftTable

NET: dict[str, Any] = {"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan"}}


def test_an_agent_that_leaves_pods_to_others_makes_no_bridge_and_gives_no_address(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            running_hub(net_conf=NET) as hub,
            running_node(tmp_path, hub.url, foreign_pods=True, device_prefix="flannel") as node,
        ):
            await node.ready()
            assert {key.parts[0] for key in map(_key, node.objects("link"))} == {
                "eth0",
                "flannel.1",
            }
            assert not [route for route in node.objects("route") if route.dst in _own(node)]  # type: ignore[union-attr]
            for answer in (await node.add("c1"), await node.cni("STATUS", "")):
                assert answer.code == INVALID_CONFIG
                assert "--foreign-pods" in answer.document["msg"]
            assert (await node.delete("c1")).code == 0

    run(scenario)


@pytest.mark.parametrize(
    ("settings", "masquerades", "accepts", "refuses"),
    [
        pytest.param({}, True, True, False, id="as configured"),
        pytest.param({"masquerade": "off"}, False, True, False, id="no masquerade"),
        pytest.param({"no_forward_rules": True}, True, False, False, id="nothing accepted"),
        pytest.param({"refuse_unassigned": True}, True, True, True, id="unassigned refused"),
    ],
)
def test_what_flanneld_can_be_told(
    tmp_path: Path, settings: dict[str, Any], *, masquerades: bool, accepts: bool, refuses: bool
) -> None:
    async def scenario() -> None:
        async with (
            running_hub(net_conf=NET) as hub,
            running_node(tmp_path, hub.url, foreign_pods=True, **settings) as node,
        ):
            await node.ready()
            table = node.found(Key("nft", ("inet", "podway")))
            assert isinstance(table, NftTable)
            assert ("masquerade" in table.body) == masquerades
            assert ("hook forward" in table.body) == accepts
            kinds = {route.kind for route in node.objects("route")}  # type: ignore[union-attr]
            assert ("unreachable" in kinds) == refuses

    run(scenario)


def test_an_instance_has_names_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = new_kernel()
        async with (
            running_hub(net_conf=NET) as hub,
            running_node(tmp_path, hub.url, kernel=kernel, instance="blue") as node,
        ):
            await node.ready()
            answer = await node.add("c1")
            assert answer.document["interfaces"][0]["name"] == "cni-blue"
            names = {key.parts[0] for key in map(_key, node.objects("link"))}
            assert {"blue.1", "cni-blue"} <= names
            aliases = {link.alias.partition(":")[0] for link in node.objects("link")}  # type: ignore[union-attr]
            assert aliases == {"", "podway@blue"}  # eth0 has none
            assert node.found(Key("nft", ("inet", "podway-blue"))) is not None

    run(scenario)


def test_the_subnet_file_is_written_again_when_somebody_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "subnet.env"

    async def scenario() -> None:
        async with (
            running_hub(net_conf=NET) as hub,
            running_node(tmp_path, hub.url, foreign_pods=True, subnet_file=path) as node,
        ):
            await node.ready()
            await until(path.exists)
            text = path.read_text()
            assert "FLANNEL_MTU=1450\n" in text
            path.unlink()
            await until(path.exists)
            assert path.read_text() == text

    run(scenario)


def test_a_former_daemons_subnet_is_wished_for(tmp_path: Path) -> None:
    path = tmp_path / "subnet.env"
    path.write_text("FLANNEL_NETWORK=10.9.0.0/16\nFLANNEL_SUBNET=10.9.77.1/24\n")

    async def scenario() -> None:
        async with (
            running_hub(net_conf=NET) as hub,
            running_node(tmp_path, hub.url, foreign_pods=True, subnet_file=path) as node,
        ):
            await node.ready()
            assert node.agent.me is not None
            assert str(node.agent.me.leases[0].subnet) == "10.9.77.0/24"

    run(scenario)


def _key(item: Any) -> Key:
    key: Key = item.key
    return key


def _own(node: Any) -> set[object]:
    return {lease.subnet for lease in node.agent.me.leases}
