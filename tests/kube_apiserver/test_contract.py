"""The part of the stores' common contract that is Kubernetes' too.

What is left out: which subnet a node gets, reservations, leases that end, changing the network.
All of that is kube-controller-manager's or the operator's; here a test's store plays their part.
"""

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import count
from pathlib import Path

import pytest

from kube_apiserver.server import Admin, ApiError, KubeServer
from kube_apiserver.stores import net_conf, open_kube_store
from podway.model.addresses import IPNetwork
from podway.model.networks import Pool, parse_network
from podway.model.nodes import Claim, Node
from podway.store.kube import KubeStore
from store.test_contract import (
    test_a_lease_for_good_never_ends,
    test_a_node_joins_and_leaves,
    test_a_second_watch_ends_the_first,
    test_an_own_claim_is_seen_by_the_own_watch,
    test_both_families_or_none,
    test_no_network_no_lease,
    test_nobody_gets_what_another_has,
    test_renewals_and_repeated_claims_are_no_events,
    test_what_is_closed_stays_closed,
)

__all__ = [
    "test_a_lease_for_good_never_ends",
    "test_a_node_joins_and_leaves",
    "test_a_second_watch_ends_the_first",
    "test_an_own_claim_is_seen_by_the_own_watch",
    "test_both_families_or_none",
    "test_no_network_no_lease",
    "test_nobody_gets_what_another_has",
    "test_renewals_and_repeated_claims_are_no_events",
    "test_what_is_closed_stays_closed",
]


class ClusterStore:
    """A `KubeStore` in whose cluster Nodes come up when they are needed."""

    def __init__(
        self, store: KubeStore, admin: Admin, directory: Path, numbers: Iterator[int]
    ) -> None:
        self._store = store
        self._admin = admin
        self._directory = directory
        self._numbers = numbers

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def put_network(self, text: str) -> int:
        net_conf(self._directory, text)
        return 0

    async def claim(self, claim: Claim) -> Node:
        conf = self._directory / "net-conf.json"
        if conf.exists():
            self._add_node(claim.name, conf.read_bytes())
        return await self._store.claim(claim)

    def _add_node(self, name: str, conf: bytes) -> None:
        try:
            self._admin.node(name)
        except ApiError:
            number = next(self._numbers)
            cidrs = [str(subnet_of(pool, number)) for pool in parse_network(conf).pools]
            self._admin.add_node(name, *cidrs)


def subnet_of(pool: Pool, number: int) -> IPNetwork:
    """Return the subnet of *pool* with that number."""
    step = 1 << (pool.prefix.max_prefixlen - pool.subnet_len)
    return ip_network((int(pool.prefix.network_address) + number * step, pool.subnet_len))


class ClusterBacking:
    """What the contract opens its stores by."""

    def __init__(self, server: KubeServer, admin: Admin, directory: Path) -> None:
        self._parts = (server, admin, directory)
        self._numbers = count(1)

    def open(self) -> ClusterStore:
        server, admin, directory = self._parts
        store = open_kube_store(server, directory, conf=None)
        return ClusterStore(store, admin, directory, self._numbers)


@pytest.fixture
def backing(server: KubeServer, admin: Admin, tmp_path: Path) -> ClusterBacking:
    return ClusterBacking(server, admin, tmp_path)
