"""Where a node stands: what its pods on the bridge change about it."""

import pytest

from podway.agent.place import place_of
from podway.agent.settings import Settings
from podway.compute.node import compute_own
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import Link
from unit.compute.clusters import UPLINK, network_of, node_of


@pytest.mark.parametrize(
    ("mtus", "expected"),
    [
        pytest.param(frozenset(), 1450, id="no pods: as the way out"),
        pytest.param(frozenset({1450}), 1450, id="pods as the way out"),
        pytest.param(frozenset({1350}), 1350, id="pods from before the way out grew"),
        pytest.param(frozenset({1950}), 1950, id="pods from before the way out shrank"),
        pytest.param(frozenset({1350, 1450}), 1350, id="the smallest speaks for all"),
    ],
)
def test_the_bridge_has_the_mtu_of_its_pods(mtus: frozenset[int], expected: int) -> None:
    network = network_of()
    settings = Settings(node="node-1", store="unix:/none")
    me = node_of(network, 1)
    place = place_of(settings, network, me, UPLINK, bridged=bool(mtus), bridged_mtus=mtus)
    links = [item for item in compute_own(place) if isinstance(item, Link)]
    assert [item.mtu for item in links if item.name == BRIDGE_NAME] == [expected]
    # A first pod like any other is no reason to compute everything anew.
    bare = place_of(settings, network, me, UPLINK, bridged=False)
    assert (place == bare) is (mtus <= {1450})
