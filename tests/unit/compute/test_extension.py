"""The extension backend: programs as values, variables in arguments, and never a shell."""

from ipaddress import ip_network

import pytest
from msgspec.structs import replace

from podway.compute.backends.extension import expand
from podway.compute.node import compute_node_program, compute_own, compute_peer
from podway.model.kernel import Link, Route
from podway.model.networks import AllocConfig, ExtensionConfig, HostGwConfig
from podway.model.nodes import ExtensionData
from podway.model.programs import Program
from unit.compute.clusters import DUAL, IPV4, network_of, node_of, place_of

CONFIG = ExtensionConfig(
    post_startup=("post", "$NETWORK"),
    subnet_add=("add", "$SUBNET", "--via=${PUBLIC_IP}", "$IPV6SUBNET"),
    subnet_remove=("remove", "$SUBNET"),
    shutdown=("shutdown",),
)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        pytest.param("$SUBNET", "10.0.0.0/24; rm -rf /", id="whole, whatever it holds"),
        pytest.param("a${SUBNET}b", "a10.0.0.0/24; rm -rf /b", id="in braces"),
        pytest.param("$SUBNET$EMPTY", "10.0.0.0/24; rm -rf /", id="an empty one"),
        pytest.param("$OTHER", "$OTHER", id="another word"),
        pytest.param("$SUBNETS", "$SUBNETS", id="a longer word"),
        pytest.param("$", "$", id="a dollar"),
        pytest.param("$(reboot) `reboot`", "$(reboot) `reboot`", id="what a shell would run"),
        pytest.param("$AGAIN", "$SUBNET", id="not expanded again"),
    ],
)
def test_expand(argument: str, expected: str) -> None:
    variables = {"SUBNET": "10.0.0.0/24; rm -rf /", "EMPTY": "", "AGAIN": "$SUBNET"}
    assert expand(("x", argument), variables) == ("x", expected)


def test_the_nodes_own_program() -> None:
    place = place_of(network_of(CONFIG, DUAL))
    assert compute_node_program(place) == Program(
        name="node",
        do=("post", "10.244.0.0/16"),
        undo=("shutdown",),
        variables={
            "NETWORK": "10.244.0.0/16",
            "IPV6NETWORK": "fd00:10:244::/48",
            "SUBNET": "10.244.1.0/24",
            "PUBLIC_IP": "192.0.2.11",
            "IPV6SUBNET": "fd00:10:244:1::/64",
            "PUBLIC_IPV6": "2001:db8:0:1::11",
        },
    )


def test_a_peers_program() -> None:
    place = place_of(network_of(CONFIG))
    plan = compute_peer(place, node_of(place.network, 2))
    assert plan.objects == ()
    assert plan.program == Program(
        name="peer/node-2",
        do=("add", "10.244.2.0/24", "--via=192.0.2.12", ""),
        undo=("remove", "10.244.2.0/24"),
        variables={
            "SUBNET": "10.244.2.0/24",
            "PUBLIC_IP": "192.0.2.12",
            "IPV6SUBNET": "",
            "PUBLIC_IPV6": "",
        },
        stdin="said by node-2",
    )


def test_a_peer_that_says_nothing_is_read_as_nothing() -> None:
    place = place_of(network_of(CONFIG))
    peer = node_of(place.network, 2)
    silent = replace(peer, leases=(replace(peer.leases[0], data=None),))
    program = compute_peer(place, silent).program
    assert program is not None
    assert program.stdin == ""


def test_a_peer_without_a_shared_family_has_no_program() -> None:
    place = place_of(network_of(CONFIG))
    assert compute_peer(place, node_of(place.network, 2, families=())).program is None


def test_a_peer_that_claims_this_nodes_subnet_has_no_program() -> None:
    place = place_of(network_of(CONFIG))
    peer = node_of(place.network, 2)
    lease = replace(peer.leases[0], subnet=ip_network("10.244.1.0/24"))
    plan = compute_peer(place, replace(peer, leases=(lease,)))
    assert plan.program is None
    assert len(plan.skipped) == 1


def test_what_a_node_publishes_is_what_its_first_command_printed() -> None:
    network = network_of(CONFIG)
    assert node_of(network, 3).leases[0].data == ExtensionData(text="said by node-3")


def test_other_backends_have_no_programs() -> None:
    assert compute_node_program(place_of(network_of(HostGwConfig()))) is None


def test_alloc_writes_no_way_to_anybody() -> None:
    place = place_of(network_of(AllocConfig()))
    plan = compute_peer(place, node_of(place.network, 2, families=(IPV4,)))
    assert (plan.objects, plan.skipped, plan.program) == ((), (), None)
    own = compute_own(place)
    assert [item.name for item in own if isinstance(item, Link)] == ["cni0"]
    assert not any(isinstance(item, Route) for item in own)
