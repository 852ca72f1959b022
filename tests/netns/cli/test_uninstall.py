"""``podway uninstall`` in a namespace that holds podway's objects and somebody else's."""

from contextlib import ExitStack, closing

import pytest

from netns.cli.places import OURS, Place, kernel_of, put
from netns.conftest import Netns
from netns.udp.worlds import inside
from podway.agent.ledger import Ledger
from podway.agent.main import only_one
from podway.agent.places import LEDGER
from podway.model.instances import DEFAULT_INSTANCE

pytestmark = pytest.mark.root


def test_verify_lists_what_is_left_and_touches_nothing(netns: Netns, place: Place) -> None:
    with kernel_of(netns) as kernel:
        put(kernel, *OURS)
    for _ in range(2):
        code, answer = place.answer(netns, "--verify")
        assert code == 1
        assert answer["removed"] == []
        # The address goes with its device and is no step of its own.
        assert answer["left"] == ["nft inet podway", "route 2 254 10.244.2.0/24 1", "link cni0"]
    assert not place.run_dir.exists()
    assert not place.state_dir.exists()


def test_everything_of_ours_goes_and_nothing_else(netns: Netns, place: Place) -> None:
    netns.ip("link", "add", "theirs", "type", "bridge")
    netns.ip("route", "add", "unreachable", "198.51.100.0/24", "metric", "7")
    netns.exec("nft", "add", "table", "inet", "theirs")
    with kernel_of(netns) as kernel:
        put(kernel, *OURS)
    code, answer = place.answer(netns)
    assert (code, answer["left"]) == (0, [])
    assert place.answer(netns, "--verify") == (0, {"removed": [], "left": []})
    assert "theirs" in netns.ip("link", "show")
    assert "cni0" not in netns.ip("link", "show")
    assert netns.ip("route", "show").split() == ["unreachable", "198.51.100.0/24", "metric", "7"]
    assert netns.exec("nft", "list", "tables").split() == ["table", "inet", "theirs"]


def test_a_node_that_serves_pods_is_left_alone_unless_told(netns: Netns, place: Place) -> None:
    netns.ip("link", "add", "pw0123456789a", "type", "veth", "peer", "name", "pod")
    netns.ip("link", "set", "pw0123456789a", "alias", "podway:pod ns/p")
    done = place.uninstall(netns)
    assert done.returncode == 1
    assert "drain the node" in done.stderr
    assert "pw0123456789a" in netns.ip("link", "show")
    assert place.answer(netns, "--pods")[0] == 0
    assert "pw0123456789a" not in netns.ip("link", "show")


def test_a_node_whose_agent_runs_is_left_alone(netns: Netns, place: Place) -> None:
    with ExitStack() as agents, kernel_of(netns) as kernel:
        put(kernel, *OURS)
        # A socket of the namespace in which it was made: as if an agent ran there.
        inside(netns, lambda: agents.enter_context(only_one(DEFAULT_INSTANCE)))
        done = place.uninstall(netns, "--pods")
        assert done.returncode == 1
        assert "stop it first" in done.stderr
        place.state_dir.mkdir()
        with closing(Ledger(place.state_dir / LEDGER)):
            left = place.answer(netns, "--verify")[1]["left"]
        assert left[0] == "agent: it runs"
        assert {each.split()[0] for each in left[1:]} == {"nft", "route", "link"}
        assert "cni0" in netns.ip("link", "show")
        assert place.answer(netns, "--instance=blue") == (0, {"removed": [], "left": []})
    assert place.answer(netns)[0] == 0
