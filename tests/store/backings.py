"""What a store's contract is tested over: one real server per engine, a fresh network per test.

A further engine is a class with `url` and `open`, and a line in `BACKINGS`.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

from hub.hub_process import HubProcess
from podway.store.protocol import AdminStore
from store.etcd_process import EtcdProcess

NET = '{"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}'


class Backing(Protocol):
    """A network of its own in a real store."""

    def open(self) -> AdminStore:
        """Return a client; the caller closes it."""
        ...


class HubBacking:
    """A hub's process."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub

    def open(self) -> AdminStore:
        return self._hub.open_store()


class EtcdBacking:
    """A prefix of its own in one etcd."""

    def __init__(self, etcd: EtcdProcess, prefix: str) -> None:
        self._etcd = etcd
        self._prefix = prefix

    def open(self) -> AdminStore:
        return self._etcd.open_store(self._prefix)


@contextlib.contextmanager
def hubs() -> Iterator[Callable[[], Backing]]:
    """Yield a function that gives backings over hubs, each a new one."""
    with contextlib.ExitStack() as stack:
        yield lambda: HubBacking(stack.enter_context(HubProcess(net_conf=None)))


@contextlib.contextmanager
def etcds() -> Iterator[Callable[[], Backing]]:
    """Yield a function that gives backings over one etcd."""
    numbers = itertools.count()
    with EtcdProcess() as etcd:
        yield lambda: EtcdBacking(etcd, f"/contract/{next(numbers)}")


@contextlib.contextmanager
def hubs_before_etcd() -> Iterator[Callable[[], Backing]]:
    """Yield a function that gives backings over hubs, each before a network of its own in etcd."""
    numbers = itertools.count()

    def start() -> Backing:
        url = etcd.url(f"/behind/{next(numbers)}")
        arguments = ("--upstream", url)
        return HubBacking(stack.enter_context(HubProcess(net_conf=None, arguments=arguments)))

    with contextlib.ExitStack() as stack, EtcdProcess() as etcd:
        yield start


BACKINGS = {"hub": hubs, "etcd": etcds, "hub before etcd": hubs_before_etcd}
