"""A lab on every store: nodes join, pods reach each other, the store dies, nodes come and go."""

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec import structs

from lab.probes import DUAL, all_use, eventually, unanswered
from podway.lab import faults
from podway.lab.errors import LabError
from podway.lab.labs import add_node, remove_node
from podway.lab.progress import silent
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.state import write_whole
from podway.lab.store_members import find_programs, prepare_store
from podway.lab.stores import net_conf_path
from podway.lab.topology import plan_network
from podway.model.addresses import Family


@pytest.fixture
def programs() -> None:
    """Skip where the API server was not built."""
    try:
        find_programs(LabSpec(name="t", nodes=(1,), store="kubernetes"), os.environ)
    except LabError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"store": "etcd", "families": DUAL}, id="etcd"),
        pytest.param({"store": "kubernetes", "families": DUAL}, id="kubernetes"),
        pytest.param(
            {"store": "kubernetes", "families": (Family.IPV6,), "routed_underlay": True},
            id="kubernetes IPv6 routed",
        ),
    ],
)
def test_a_lab_on_another_store(make_lab: Callable[..., LabSpec], fields: dict[str, Any]) -> None:
    spec = make_lab(**fields)
    add_pods(spec, ["p1", "p2"])
    faults.kill_hub(spec)
    assert unanswered(spec) == []
    # An agent that starts without its store lives on what it knew.
    faults.kill_agent(spec, "n1")
    faults.start_agent(spec, "n1")
    add_pods(spec, ["p3"], "n1")
    assert unanswered(spec) == []
    faults.start_hub(spec)
    grown, name, _ = add_node(spec, silent)
    add_pods(grown, ["p4"], name)
    assert unanswered(grown) == []
    shrunk = remove_node(grown, name)
    assert unanswered(shrunk) == []


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("store", ["etcd", "kubernetes"])
def test_every_backend_on_every_store(make_lab: Callable[..., LabSpec], store: str) -> None:
    """One lab goes through all backends. (The hub: test_matrix.py; ipip: see there.)

    It begins with alloc, for which the fabric has the routes.
    """
    spec = make_lab(store=store, backend="alloc", families=DUAL)
    add_pods(spec, ["p1", "p2"])
    for backend in ("alloc", "host-gw", "udp", "extension", "wireguard", "vxlan"):
        take_backend(spec, backend)
        eventually(f"all use {backend}", partial(all_use, spec, backend))
        eventually("pods answer", lambda: unanswered(spec) == [])


def take_backend(spec: LabSpec, backend: str) -> None:
    """Make *backend* the network's, in the way of the store."""
    other = structs.replace(spec, backend=backend)
    write_whole(net_conf_path(spec), json.dumps(plan_network(other)).encode())
    prepare_store(other)


def test_a_program_that_is_missing_is_named() -> None:
    spec = LabSpec(name="t", nodes=(1,), store="kubernetes", kube_apiserver="/nonexistent")
    with pytest.raises(LabError, match=r"tests/kube_apiserver/build\.sh"):
        find_programs(spec, {"PATH": os.environ["PATH"]})
    with pytest.raises(LabError, match="etcd-server"):
        find_programs(spec, {"PATH": "/nonexistent"})
