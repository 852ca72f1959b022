"""Kubernetes as a store, the way flannel uses it: annotations on Nodes, subnets from podCIDRs.

In: an API server, and the file with the network's configuration. Out: the `Store` protocol.

::

    list  ─┐
    watch ─┴► cache ──► annotations ──► view ──► mailbox ──► agent
              by name   pure            what is new
                          claim ──► one GET, one PATCH of nodes/status

There are no leases that end: a Node's subnet is its own for its life, given by
kube-controller-manager. So a claim writes where the node is, `renew` looks whether that still
stands there, and time to live means nothing. A claim that finds everything written writes nothing:
a thousand agents that restart cause no event at all.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from podway.compute.subnets import SubnetRefused, check_claim
from podway.model.addresses import IPNetwork
from podway.model.networks import Network
from podway.model.nodes import Claim, Node
from podway.store.counts import StoreCounts
from podway.store.kube_annotations import (
    DEFAULT_PREFIX,
    no_annotations,
    plan_claim,
    render_annotations,
    render_patch,
)
from podway.store.kube_api import KubeApi, KubeApiOptions, NoSuchNode
from podway.store.kube_available import Availability
from podway.store.kube_grants import Grants
from podway.store.kube_login import KubeLogin
from podway.store.kube_objects import NodeRecord
from podway.store.kube_view import ClusterView, read_node
from podway.store.kube_watch import Follower, Pauses
from podway.store.mailbox import Mailbox
from podway.store.net_conf_file import follow_net_conf, read_net_conf, read_text
from podway.store.protocol import (
    ClaimRefused,
    Delta,
    LeaseLost,
    NodeStatus,
    Reservation,
    Snapshot,
    StoreAway,
    StoredNetwork,
    StoreError,
    StoreEvent,
)
from podway.store.renewed import Renewed

DEFAULT_NET_CONF = Path("/etc/kube-flannel/net-conf.json")


class KubeOptions(Struct, frozen=True, kw_only=True):
    """How one cluster is used.

    Attributes:
        prefix: of the annotations, ready to stand before a name.
        net_conf: file with the network's configuration.
        look_s: how often to look whether that file is another.
        set_available: say on our Node that its network is available (NetworkUnavailable=False).
        set_available_s: pause between two attempts at that, for who says the opposite.
        pauses: after failures of the watch.
        api: how to ask the API server.
    """

    prefix: str = DEFAULT_PREFIX
    net_conf: Path = DEFAULT_NET_CONF
    look_s: float = 2.0
    set_available: bool = True
    set_available_s: float = 5.0
    pauses: Pauses = Pauses()
    api: KubeApiOptions = KubeApiOptions()


class KubeStore:
    """One Kubernetes cluster, seen from one node.

    Attributes:
        api: by which it is asked.
        counts: requests made, lists read, Nodes that could not be used.
    """

    def __init__(self, login: Renewed[KubeLogin], options: KubeOptions | None = None) -> None:
        self._options = options or KubeOptions()
        self.counts = StoreCounts()
        self.api = KubeApi(login, self._options.prefix, self._options.api, self.counts)
        self._view = ClusterView(self.counts)
        self._mailbox: Mailbox | None = None
        self._watching: asyncio.Task[None] | None = None
        self._grants = Grants()
        self._availability = Availability(
            self._grants, self._say_available, self._options.set_available_s
        )
        self._closed = False

    @property
    def skipped(self) -> dict[str, str]:
        """Nodes whose annotations or subnets cannot be used, and why."""
        return dict(self._view.skipped)

    # -- the Store protocol

    async def watch(self) -> AsyncIterator[StoreEvent]:
        """Yield a snapshot, then every change, for ever; `Away` and `Back` as they happen.

        A second watch ends the first one's stream: there is one at a time.
        """
        self._check_open()
        await self._end_watch()
        mailbox = self._mailbox = Mailbox()
        task = asyncio.get_running_loop().create_task(self._follow(mailbox), name="kubernetes")
        task.add_done_callback(lambda _: mailbox.close())
        self._watching = task
        try:
            while (event := await mailbox.get()) is not None:
                yield event
        finally:
            task.cancel()
        if not task.cancelled():
            task.result()

    async def claim(self, claim: Claim) -> Node:
        """Write *claim* on our Node; its subnets are the Node's podCIDRs.

        Raises:
            ClaimRefused: there is no such Node, it has no fitting podCIDRs, or the claim does not
                fit the network.
            StoreAway, StoreError: as everywhere.
        """
        self._check_open()
        network = self._read_network()
        record = await self._get(claim.name)
        try:
            check_claim(network, claim)
        except SubnetRefused as error:
            raise ClaimRefused(str(error)) from error
        node = plan_claim(claim, record, network)
        moment = datetime.now(UTC) if self._options.set_available else None
        written = await self._write(record, render_annotations(node), moment)
        self._grants.hold(claim, node)
        self._heard(written)
        # While the answer was on its way the Node may have been written again, or deleted.
        known = self._view.cache.get(claim.name) if self._view.listed else written
        if known is None or read_node(known, network)[0] != node:
            raise StoreError(f"Node {claim.name} does not say (any more) what was written on it")
        return node

    async def renew(self, name: str) -> None:
        """Look whether the Node still says what was claimed. Raises `LeaseLost`."""
        self._check_open()
        grant = self._grants.get(name)
        try:
            record = await self.api.get_node(name)
        except NoSuchNode as error:
            raise LeaseLost(str(error)) from error
        node, reason = read_node(record, self._read_network())
        if node is None:
            reason = reason or "its annotations are gone"
            raise LeaseLost(f"Node {name} is no longer on the network: {reason}")
        if grant is not None and grant is self._grants.get(name) and node != grant.node:
            where = ", ".join(str(lease.public_ip) for lease in node.leases)
            raise LeaseLost(
                f"somebody else has written on Node {name}: it is of {node.backend} at {where}"
            )

    async def release(self, name: str) -> None:
        """Take our annotations off the Node *name*; no error when it is not there."""
        self._check_open()
        self._grants.drop(name)
        with suppress(NoSuchNode):
            await self._write(await self.api.get_node(name), no_annotations(), None)

    def recheck(self) -> None:
        """Ask anew what is asked from addresses that this machine has lost."""
        self.api.recheck()

    async def close(self) -> None:
        """End the stream of who watches."""
        self._closed = True
        await self._end_watch()

    # -- an administrator's calls

    async def get_network(self) -> StoredNetwork | None:
        """Return the file's text. Raises StoreError when it cannot be read."""
        path = self._options.net_conf
        try:
            return StoredNetwork(read_text(path).decode("utf-8", "replace"), 0)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    async def put_network(
        self, text: str, *, expected_revision: int | None = None, force: bool = False
    ) -> int:
        """Refuse: the configuration is in a ConfigMap. Raises StoreError."""
        del text, expected_revision, force
        raise StoreError(
            f"the network of a Kubernetes cluster is the file {self._options.net_conf}: change the "
            "ConfigMap that is mounted there (kubectl edit configmap)"
        )

    async def list_nodes(self) -> tuple[NodeStatus, ...]:
        """Return every node on the network, by name; none of their leases ever ends."""
        records, _ = await self.api.list_nodes()
        network = read_net_conf(self._options.net_conf).network
        return tuple(
            NodeStatus(node=node, revision=record.revision, ttl_s=0, expires_in_s=None)
            for record in sorted(records, key=lambda record: record.name)
            if (node := read_node(record, network)[0]) is not None
        )

    async def list_reservations(self) -> tuple[Reservation, ...]:
        """Return none: Kubernetes gives the subnets."""
        return ()

    async def reserve(self, name: str, subnets: Sequence[IPNetwork]) -> None:
        """Refuse: Kubernetes gives the subnets. Raises StoreError."""
        wanted = ", ".join(map(str, subnets))
        raise StoreError(
            f"{wanted} cannot be reserved for {name}: a Node's subnets are its spec.podCIDRs"
        )

    async def unreserve(self, name: str) -> None:
        """Do nothing: there are none."""
        del name

    # -- our own Nodes: one, or those of a hub's agents

    def _read_network(self) -> Network:
        conf = read_net_conf(self._options.net_conf)
        if conf.network is None:
            raise ClaimRefused(conf.error)
        return conf.network

    async def _get(self, name: str) -> NodeRecord:
        try:
            return await self.api.get_node(name)
        except NoSuchNode as error:
            raise ClaimRefused(
                f"there is no Node {name!r} in Kubernetes: --node must be the name by which the "
                "kubelet registers it (spec.nodeName of a pod)"
            ) from error

    async def _write(
        self, record: NodeRecord, texts: dict[str, str | None], available_since: datetime | None
    ) -> NodeRecord:
        """Make *record* say *texts*; return it as it is then."""
        patch = render_patch(record, texts, self._options.prefix, available_since=available_since)
        if patch is not None:
            record = await self.api.patch_status(record.name, patch)
        # What the watch still has to say of the Node as it was before is then known to be old.
        self._tell(self._view.keep(record) if self._view.listed else None)
        return record

    def _heard(self, record: NodeRecord) -> None:
        """Look at what somebody did to a Node of ours; *record* may be older than what is known."""
        known, meant = self._view.cache.get(record.name), None
        if known is not None and self._grants.get(record.name) is not None:
            self._availability.hear(known)
            meant = self._grants.meant(known, self._view.network)
        # Where an operator has changed something, who claimed hears that, and claims anew.
        self._tell(self._view.mean(record.name, meant))

    async def _say_available(self, name: str) -> None:
        record = self._view.cache.get(name)
        if record is not None:
            await self._write(record, {}, datetime.now(UTC))

    # -- the stream

    async def _follow(self, mailbox: Mailbox) -> None:
        options = self._options
        self._view.configure(read_net_conf(options.net_conf))
        follower = Follower(self.api, self._view, options.pauses, self._heard)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follower.run(mailbox))
            tasks.create_task(self._follow_net_conf())
            if options.set_available:
                tasks.create_task(self._availability.hold())

    async def _follow_net_conf(self) -> None:
        options = self._options
        async for conf in follow_net_conf(options.net_conf, options.look_s):
            self._tell(self._view.configure(conf))

    def _tell(self, event: Snapshot | Delta | None) -> None:
        if event is not None and self._mailbox is not None:
            self._mailbox.put(event)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreAway(f"{self.api}: this store was closed")

    async def _end_watch(self) -> None:
        task, self._watching = self._watching, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
