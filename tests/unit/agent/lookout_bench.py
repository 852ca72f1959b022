"""A lookout over a kernel in memory, for tests of what depends on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_interface, ip_network

from podway.agent.kernel_thread import KernelThread
from podway.agent.lookout import Lookout
from podway.diff.tracker import Tracker
from podway.kernel.fake import FakeKernel
from podway.kernel.logs import get_log
from podway.model.kernel import Address, Bridge, Link, Route, Sysctl
from podway.model.nodes import UplinkChoice

CNI0 = Link(name="cni0", kind=Bridge(), mtu=1500, mac="0a:58:0a:f4:01:01", alias="podway:bridge")
GATEWAY = Address("cni0", ip_interface("10.244.1.1/24"))
ROUTE = Route(dst=ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("192.0.2.2"))
FORWARD = Sysctl("ipv4/ip_forward", "1")


class Bench:
    """A lookout over a kernel in memory, and a bell that tells when it wants a pass."""

    def __init__(self, dev: str = "") -> None:
        self.kernel = FakeKernel()
        self.tracker = Tracker()
        self.woken = asyncio.Event()
        self.thread = KernelThread(lambda: self.kernel)
        self.lookout = Lookout(
            UplinkChoice(names=(dev,) if dev else ()),
            self.tracker,
            self.thread,
            self.woken.set,
            get_log("test"),
        )
        self.tracker.desire(("node",), (CNI0, GATEWAY, ROUTE, FORWARD))

    async def look(self) -> bool:
        """Do what a pass does before it plans."""
        self.woken.clear()
        news = await self.lookout.hear()
        await self.lookout.read([FORWARD.key])
        return news

    async def settle(self) -> None:
        """Write what is planned into the kernel."""
        while operations := self.tracker.plan():
            for operation, error in zip(operations, self.kernel.apply(operations), strict=True):
                self.tracker.record(operation, error, 0.0)
                assert error is None, error

    def planned(self) -> set[str]:
        return {str(operation) for operation in self.tracker.plan()}


@contextlib.asynccontextmanager
async def watching(dev: str = "", *, uplink: bool = True) -> AsyncIterator[Bench]:
    bench = Bench(dev)
    if uplink:
        bench.kernel.add_device("eth0", addresses=("192.0.2.1/24",))
        bench.kernel.set_default_route("eth0", ip_address("192.0.2.254"))
        bench.kernel.drain()
    bench.lookout.start(await bench.thread.open())
    try:
        yield bench
    finally:
        bench.lookout.stop()
        await bench.thread.close()
