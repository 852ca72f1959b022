"""What an agent makes of store events: the naive way, for comparison with every clever one."""

import asyncio
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network

from podway.model.networks import Network
from podway.model.nodes import Lease, Node
from podway.store.mailbox import Mailbox
from podway.store.protocol import Away, Back, Delta, Snapshot, StoreEvent


def node(name: str, number: int) -> Node:
    subnet, address = IPv4Network((0x0A000000 + (number << 8), 24)), IPv4Address(number)
    return Node(name=name, backend="x", leases=(Lease(subnet=subnet, public_ip=address),))


class World:
    """What an agent makes of events."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.network: tuple[Network | None, str] = (None, "")
        self.away = False

    def hear(self, event: StoreEvent) -> None:
        match event:
            case Snapshot():
                self.nodes = {each.name: each for each in event.nodes}
                self.network = (event.network, event.network_error)
            case Delta():
                for change in event.changes:
                    self.nodes.pop(change.name, None)
                    if change.node is not None:
                        self.nodes[change.name] = change.node
                if event.network is not None or event.network_error:
                    self.network = (event.network, event.network_error)
            case Away():
                self.away = True
            case Back():
                assert self.away, "back from where?"
                self.away = False

    def state(self) -> tuple[dict[str, Node], tuple[Network | None, str], bool]:
        return self.nodes, self.network, self.away


async def take_all(mailbox: Mailbox) -> list[StoreEvent]:
    events: list[StoreEvent] = []
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0):  # what is there is given without waiting
                event = await mailbox.get()
            assert event is not None
            events.append(event)
    return events
