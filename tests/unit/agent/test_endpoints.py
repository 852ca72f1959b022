"""Endpoints in memory: marks, namespaces, and what is known to be gone."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from podway.agent.endpoints import Endpoints, namespace_identity
from unit.agent.values import endpoint, key


def test_marks_and_counts() -> None:
    endpoints = Endpoints()
    endpoints.put(endpoint("c1", "10.244.1.2"), "4:1")
    endpoints.put(endpoint("c2", "10.244.1.3", attach="routed"), "4:2")
    assert (len(endpoints), endpoints.bridged) == (2, 1)
    assert endpoints.take_dirty() == {key("c1"), key("c2")}
    assert endpoints.take_dirty() == set()
    endpoints.put(endpoint("c1", "10.244.1.9", attach="routed"), "4:1")
    assert (len(endpoints), endpoints.bridged) == (2, 0)
    endpoints.drop(key("c2"))
    endpoints.drop(key("never"))
    assert endpoints.take_dirty() == {key("c1"), key("c2"), key("never")}
    assert [item.key for item in endpoints] == [key("c1")]


def test_two_interfaces_of_one_container_are_two_endpoints() -> None:
    endpoints = Endpoints()
    first = endpoint("c1", "10.244.1.2")
    second = replace(endpoint("c1", "10.244.1.3"), key=key("c1", "net1"))
    third = replace(endpoint("c1", "10.244.1.4"), key=key("c1", "eth0", network="other"))
    for item in (first, second, third):
        endpoints.put(item, "4:1")
    assert len(endpoints) == 3
    assert len({item.host_ifname for item in endpoints}) == 3
    endpoints.drop(second.key)
    assert (endpoints.get(first.key), endpoints.get(second.key)) == (first, None)


def test_detached_until_put_anew() -> None:
    endpoints = Endpoints()
    endpoints.detach(key("never"))
    assert endpoints.detached() == 0
    endpoints.put(endpoint("c1", "10.244.1.2"), "4:1")
    endpoints.take_dirty()
    endpoints.detach(key("c1"))
    assert endpoints.is_detached(key("c1"))
    assert (endpoints.detached(), endpoints.take_dirty()) == (1, {key("c1")})
    assert endpoints.get(key("c1")) is not None
    endpoints.put(endpoint("c1", "10.244.1.2"), "4:1")
    assert endpoints.detached() == 0


def test_while_add_goes_on_its_descriptor_leads_to_the_namespace(tmp_path: Path) -> None:
    path = tmp_path / "netns"
    path.touch()
    endpoints = Endpoints()
    fd = os.open(path, os.O_RDONLY)
    try:
        item = replace(endpoint("c1", "10.244.1.2"), netns=str(tmp_path / "elsewhere"))
        endpoints.put(item, namespace_identity(fd), f"/proc/self/fd/{fd}")
        assert endpoints.namespace(item.key) == f"/proc/self/fd/{fd}"
        assert endpoints.still_there(item.key)
        endpoints.landed(item.key)
        assert endpoints.namespace(item.key) == item.netns
        assert not endpoints.still_there(item.key)
    finally:
        os.close(fd)


@pytest.mark.parametrize("what", ["missing", "another file"])
def test_a_path_that_no_longer_leads_there(tmp_path: Path, what: str) -> None:
    path = tmp_path / "netns"
    path.touch()
    identity = namespace_identity(str(path))
    endpoints = Endpoints()
    endpoints.put(replace(endpoint("c1", "10.244.1.2"), netns=str(path)), identity)
    assert endpoints.still_there(key("c1"))
    kept = path.rename(tmp_path / "kept")
    if what == "another file":
        path.touch()
    assert not endpoints.still_there(key("c1"))
    assert namespace_identity(str(kept)) == identity


def test_nothing_there_has_no_identity() -> None:
    assert namespace_identity("/nonexistent") == ""
    assert namespace_identity("") == ""
    assert namespace_identity(987654) == ""


def test_mtus_of_what_lives_on_the_bridge() -> None:
    endpoints = Endpoints()
    first, second = endpoint("c1", "10.244.1.2"), endpoint("c2", "10.244.1.3")
    endpoints.put(first, "4:1")
    endpoints.put(replace(second, mtu=1400), "4:2")
    endpoints.put(replace(endpoint("c3", "10.244.1.4", attach="routed"), mtu=9000), "4:3")
    assert endpoints.bridged_mtus == {first.mtu, 1400}
    endpoints.put(replace(second, mtu=1300), "4:2")
    assert endpoints.bridged_mtus == {first.mtu, 1300}
    endpoints.detach(second.key)
    endpoints.detach(second.key)
    assert endpoints.bridged_mtus == {first.mtu}
    endpoints.drop(second.key)
    endpoints.drop(first.key)
    assert endpoints.bridged_mtus == frozenset()
