"""The agent is killed again and again while pods come and go: nothing is given twice, nothing lost.

How often is said by PODWAY_TEST_KILLS, 40 by default so that every run of the tests has time for
it. For the number that the design promises::

    PODWAY_TEST_KILLS=500 .venv/bin/python -m pytest tests/agent/test_random_kills.py
"""

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.nodes import Answer
from agent.real_nodes import PATIENCE_S, RealNode, pods, real_cluster, wait_until
from netns.conftest import Netns

pytestmark = pytest.mark.root

KILLS = int(os.environ.get("PODWAY_TEST_KILLS", "40"))
# Each has its own containers and works through them alone, as a runtime does.
WORKERS = 4
PODS_EACH = 3
# The longest that an agent lives once it is ready: a few calls' time.
LIFE_S = 0.12
# About what it takes until it is.
START_S = 0.5
NET_CONF = {
    "Network": "10.9.0.0/16",
    "EnableIPv6": True,
    "IPv6Network": "fd00:9::/48",
    "Backend": {"Type": "vxlan"},
}


class Book:
    """Who has which address, as the runtime was told; complains of an address with two owners."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()
        self.given = 0

    def note(self, container: str, answer: Answer) -> None:
        """*container* was given what *answer* says."""
        with self._lock:
            self.given += 1
            for text in answer.addresses:
                address = text.split("/")[0]
                owner = self._owners.setdefault(address, container)
                assert owner == container, f"{address} is {owner}'s and was given to {container}"

    def forget(self, container: str) -> None:
        """*container* is about to go."""
        with self._lock:
            self._owners = {a: owner for a, owner in self._owners.items() if owner != container}

    def of(self, container: str) -> set[str]:
        """Return the addresses of *container*."""
        with self._lock:
            return {address for address, owner in self._owners.items() if owner == container}


class Worker(threading.Thread):
    """A part of a runtime: attaches and detaches its pods in any order until told to stop.

    Half of them run the CNI executable; the others speak to the socket themselves, which brings
    them to an agent that has just started before its next end.

    Attributes:
        live: containers that are attached, as far as anybody knows, with their namespaces.
        fault: what went wrong, or None.
    """

    def __init__(self, number: int, node: RealNode, spaces: list[Netns], book: Book) -> None:
        super().__init__()
        self.live: dict[str, Netns] = {}
        self.fault: BaseException | None = None
        self._chance = random.Random(number)
        self._name = f"w{number}"
        self._count = 0
        self._call = node.cni if number % 2 else node.ask
        self._free = list(spaces)
        self._book = book
        self._enough = threading.Event()

    def run(self) -> None:
        try:
            while not self._enough.is_set():
                if self._free and (not self.live or self._chance.random() < 0.6):
                    self._attach()
                else:
                    self._detach(self._chance.choice(sorted(self.live)))
        except BaseException as error:  # noqa: BLE001  (the test raises it)
            self.fault = error

    def stop(self) -> None:
        """Let it come to its end, and raise what it met."""
        self._enough.set()
        self.join(60)
        assert not self.is_alive()
        if self.fault is not None:
            raise self.fault

    def _attach(self) -> None:
        self._count += 1
        container, space = f"{self._name}-{self._count}", self._free.pop()
        self.live[container] = space
        attach = self._chance.choice(["bridge", "routed"])
        answer = self._call("ADD", container, space, attach=attach)
        if answer.code == 0:
            self._book.note(container, answer)
        else:
            # The runtime cleans up after a failed ADD, and repeats DEL until it succeeds.
            self._detach(container)

    def _detach(self, container: str) -> None:
        self._book.forget(container)
        space = self.live[container]
        while self._call("DEL", container, space).code:
            if self._enough.is_set():
                return
            time.sleep(0.002)
        del self.live[container]
        self._free.append(space)


@contextmanager
def working(node: RealNode, spaces: list[Netns], book: Book) -> Iterator[list[Worker]]:
    """Let workers work while the body runs."""
    shares = [spaces[number::WORKERS] for number in range(WORKERS)]
    workers = [Worker(number, node, share, book) for number, share in enumerate(shares)]
    for worker in workers:
        worker.start()
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


@pytest.mark.timeout(120 + KILLS * 5)
def test_no_kill_gives_an_address_twice_or_loses_one() -> None:
    chance = random.Random(KILLS)
    book = Book()
    with (
        real_cluster(NET_CONF) as (_, (node,)),
        pods(WORKERS * PODS_EACH) as spaces,
    ):
        node.start()
        node.ready()
        routes = node.our_routes()
        with working(node, spaces, book) as workers:
            kills = 0
            # On a busy machine less happens between two kills; too little would prove nothing.
            while kills < KILLS or book.given < KILLS:
                _kill_soon(node, chance)
                kills += 1
                assert not [worker.fault for worker in workers if worker.fault]
        node.ready()
        live = {name: space for worker in workers for name, space in worker.live.items()}
        _check_live(node, book, live)
        _detach_all(node, live)
        assert node.pod_links() == [], (node.ip("link"), node.log)
        wait_until(lambda: node.our_routes() == routes, lambda: (routes, node.our_routes()))
        assert node.status()["addresses"]["used"] == 0
        node.calm()
        node.ready()
        for space in spaces:
            assert len(json.loads(space.ip("-j", "link"))) == 1, "the loopback is all that is left"


def _kill_soon(node: RealNode, chance: random.Random) -> None:
    """Kill the agent at a random moment, now and then while it still starts; start it again."""
    if chance.random() < 0.2:
        time.sleep(chance.uniform(0, START_S))
    else:
        node.ready()
        time.sleep(chance.uniform(0, LIFE_S))
    node.kill()
    node.start()


def _check_live(node: RealNode, book: Book, live: dict[str, Netns]) -> None:
    """Each pod that was told an address has it, and no address is on two pods."""
    holders: dict[str, str] = {}
    for container, space in live.items():
        addresses = _addresses_in(space)
        assert addresses >= book.of(container), (container, addresses, node.log)
        for address in addresses:
            assert holders.setdefault(address, container) == container
    held = [row for row in node.call("ipam.show")["addresses"] if row["state"] == "held"]
    assert len({row["address"] for row in held}) == len(held)
    assert {row["container_id"] for row in held} <= live.keys()


def _addresses_in(space: Netns) -> set[str]:
    links = json.loads(space.ip("-j", "address"))
    return {
        str(item["local"])
        for link in links
        if link["ifname"] == "eth0"
        for item in link["addr_info"]
        if item["scope"] == "global"
    }


def _detach_all(node: RealNode, live: dict[str, Netns]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    for container, space in live.items():
        while (answer := node.cni("DEL", container, space)).code:
            assert time.monotonic() < deadline, (answer, node.log)
