"""Agents in the test's own process: over a kernel in memory, with their real sockets.

``running_node`` brings one up and ends it, as ``podway agent`` would, whatever the test does::

    async with running_hub() as hub, running_node(tmp_path, hub.url) as node:
        await node.ready()
        answer = await node.add("c1")
        assert answer.code == 0

Requests travel in real frames, with a real descriptor: pods' namespaces are files, which the kernel
in memory tells apart as the real one does namespaces.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from msgspec import Struct

from podway.agent.agent import Agent
from podway.agent.attachments import Attachments
from podway.agent.calls import call_agent
from podway.agent.cni_server import CniServer
from podway.agent.health import not_ready_reasons
from podway.agent.ledger import Ledger
from podway.agent.metrics import Metrics
from podway.agent.operators import Operators
from podway.agent.settings import Settings
from podway.cni.frames import MAX_RESPONSE_BYTES, FrameBuffer, decode_response, encode_request
from podway.kernel.fake import FakeKernel
from podway.model.kernel import ROUTE_PROTOCOL, KernelObject, Key, Route
from podway.store.engines import open_hub
from podway.store.hub import HubOptions
from podway.store.protocol import Store

PATIENCE_S = 20.0
QUICK = HubOptions(backoff_min_s=0.01, backoff_max_s=0.1)


class KeptKernel(FakeKernel):
    """A kernel that outlives the agent that uses it, as kernels do."""

    def close(self) -> None:
        """Do nothing; the test's end frees it."""


class Answer(Struct, frozen=True):
    """What a runtime gets: exit code and the JSON on standard output ({} for none)."""

    exit_code: int
    document: dict[str, Any]

    @property
    def code(self) -> int:
        """Number of the error; 0 for none, -1 for one without a number."""
        return int(self.document.get("code", -1)) if self.exit_code else 0

    @property
    def addresses(self) -> list[str]:
        """The pod's addresses, with their prefix lengths."""
        return [item["address"] for item in self.document["ips"]]


class Node:
    """One running agent, and the ways in which others meet it."""

    def __init__(
        self, directory: Path, settings: Settings, kernel: FakeKernel, store: Store
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.kernel = kernel
        self.ledger = Ledger(settings.state_dir / "agent.db")
        self.metrics = Metrics()
        self.agent = Agent(settings, store, self.ledger, lambda: kernel, self.metrics)
        self.attachments = Attachments(self.agent, kernel.check_pod)

    # --- how it fares ---------------------------------------------------------------------------

    def reasons(self) -> list[str]:
        """Return why the node is not ready."""
        return not_ready_reasons(self.agent)

    async def ready(self) -> None:
        """Wait until the node is."""
        await until(lambda: not self.reasons(), self.reasons)

    async def calm(self) -> None:
        """Wait until the kernel is as wanted, by what the agent would find if it read it all."""
        operations = ["not looked yet"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while operations:
                    operations = await self.preview()
        assert operations == []

    async def preview(self) -> list[str]:
        """Return what the agent would do now, after reading everything."""
        return [str(operation) for operation in await self.agent.preview()]

    # --- the kernel -----------------------------------------------------------------------------

    async def tamper(self, call: Callable[..., object], *arguments: object) -> None:
        """Call one of the kernel's ``tamper_...`` functions, between two calls of the agent."""
        await self.agent.in_kernel_thread(call, *arguments)

    def found(self, key: Key) -> KernelObject | None:
        """Return what the kernel holds at *key*."""
        return self.kernel.stack.find(key)

    def objects(self, kind: str) -> list[KernelObject]:
        """Return everything of *kind* that the kernel holds."""
        return [item for key, item in list(self.kernel.stack.objects.items()) if key.kind == kind]

    def pod_links(self) -> list[str]:
        """Return the names of the pods' host ends."""
        names = [str(item.key.parts[0]) for item in self.objects("link")]
        return [name for name in names if name.startswith("pw")]

    # --- the runtime ----------------------------------------------------------------------------

    def netns(self, container: str) -> Path:
        """Return the namespace of *container*, made if need be."""
        path = self.directory / f"netns-{container}"
        if not path.exists():
            path.touch()
            self.kernel.create_netns(str(path))
        return path

    async def destroy_netns(self, container: str) -> None:
        """End the namespace of *container*, as the runtime does when the container ends."""
        path = self.netns(container)
        await self.tamper(self.kernel.destroy_netns, str(path))
        path.unlink()

    async def add(self, container: str, **options: Any) -> Answer:
        """Attach *container*."""
        return await self.cni("ADD", container, **options)

    async def delete(self, container: str, **options: Any) -> Answer:
        """Detach *container*."""
        return await self.cni("DEL", container, **options)

    async def cni(
        self,
        command: str,
        container: str = "",
        *,
        ifname: str = "eth0",
        args: str = "",
        network: str = "net",
        config: dict[str, Any] | None = None,
    ) -> Answer:
        """Make one CNI call, as the executable passes it on."""
        environment = {"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin"}
        document = {"cniVersion": "1.1.0", "name": network, "type": "podway", **(config or {})}
        descriptors: list[int] = []
        with contextlib.ExitStack() as undo:
            if container:
                environment |= {"CNI_CONTAINERID": container, "CNI_IFNAME": ifname}
                environment |= {"CNI_ARGS": args} if args else {}
                path = self.directory / f"netns-{container}"
                if command == "ADD":
                    path = self.netns(container)
                environment["CNI_NETNS"] = str(path)
                if path.exists():
                    descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                    undo.callback(os.close, descriptors[0])
            frame = encode_request(environment, json.dumps(document))
            return await exchange(self.settings.run_dir / "cni.sock", frame, descriptors)

    # --- the operator ---------------------------------------------------------------------------

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Make an operator's call."""
        path = self.settings.run_dir / "agent.sock"
        return await asyncio.to_thread(call_agent, path, name, arguments)

    async def used(self) -> int:
        """Return how many addresses are held, as operators see it."""
        return int((await self.call("status"))["addresses"]["used"])


@contextlib.asynccontextmanager
async def running_node(
    directory: Path,
    store: str | Store,
    name: str = "a",
    *,
    kernel: FakeKernel | None = None,
    **settings: Any,
) -> AsyncIterator[Node]:
    """Run an agent called *name* on *kernel* (by default a new one with an uplink).

    Args:
        directory: for the state, the sockets and the pods of this node.
        store: URL of the hub, or any store.
        name: of the node.
        kernel: what a former agent left, for a restart.
        settings: any of `Settings`.
    """
    directory = directory / name
    directory.mkdir(exist_ok=True)
    url = store if isinstance(store, str) else "unix:/scripted"
    made = Settings(
        **{
            "node": name,
            "store": url,
            "state_dir": directory,
            "run_dir": directory,
            **settings,
        }
    )
    opened = open_hub(store, options=QUICK) if isinstance(store, str) else store
    node = Node(directory, made, kernel or new_kernel(), opened)
    try:
        cni = CniServer(directory / "cni.sock", node.attachments, node.metrics)
        operators = Operators(directory / "agent.sock", node.agent, node.attachments)
        async with running(node.agent.run()), running(cni.run(), operators.run()):
            yield node
    finally:
        node.ledger.close()


def new_kernel(*addresses: str, default: str = "192.0.2.254", mtu: int = 1500) -> KeptKernel:
    """Return a kernel with an uplink ``eth0`` that has *addresses* and a default route."""
    kernel = KeptKernel()
    kernel.add_device("eth0", addresses=addresses or ("192.0.2.1/24",), mtu=mtu)
    kernel.set_default_route("eth0", ip_address(default))
    kernel.drain()
    return kernel


@contextlib.asynccontextmanager
async def running(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Have *works* done while the body runs; one that fails fails the test."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


async def exchange(path: Path, frame: bytes, descriptors: Sequence[int] = ()) -> Answer:
    """Send *frame* with *descriptors* to the socket at *path*; return the answer."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.setblocking(False)  # noqa: FBT003
        await loop.sock_connect(link, str(path))
        sent = socket.send_fds(link, [frame], list(descriptors)) if descriptors else 0
        await loop.sock_sendall(link, frame[sent:])
        buffer = FrameBuffer(MAX_RESPONSE_BYTES)
        payload = None
        while payload is None:
            data = await loop.sock_recv(link, buffer.wanted_bytes)
            if not data:
                raise EOFError("the agent closed the connection")
            payload = buffer.feed(data)
    exit_code, text = decode_response(payload)
    return Answer(exit_code, json.loads(text) if text else {})


async def until(
    condition: Callable[[], object], describe: Callable[[], object] = lambda: ""
) -> None:
    """Wait until *condition* holds; after `PATIENCE_S` the test fails and says what there is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  (what is waited for rings no bell)
                await asyncio.sleep(0.002)
    assert condition(), describe()


async def all_of(works: Iterable[Coroutine[None, None, Answer]]) -> list[Answer]:
    """Do *works* at the same time; return their answers."""
    return list(await asyncio.gather(*works))


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run *scenario* in an event loop of its own, under a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(90):
            await scenario()

    asyncio.run(bounded())


def routes(node: Node) -> dict[str, str]:
    """Return prefix to next hop of our routes."""
    return {
        str(item.dst): str(item.via)
        for item in node.objects("route")
        if isinstance(item, Route) and item.protocol == ROUTE_PROTOCOL
    }
