"""etcd v3 as a store, with flannel's keys: nodes of podway and of flannel in one cluster.

In: an address, who we are, times. Out: the `Store` protocol and an administrator's calls. A join
costs a handful of requests, whatever the number of nodes: one reads everything, one watches, one
makes an etcd lease, one transaction claims the subnet (`etcd_plans`). It is renewed by keeping that
etcd lease alive, which changes no key and is no event for anybody; flannel writes the key anew.

A call that ends with `StoreAway` may or may not have been carried out; each may be repeated.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from podway.model.addresses import IPNetwork
from podway.model.nodes import Claim, Node
from podway.store.counts import StoreCounts
from podway.store.etcd_admin import (
    plan_network,
    plan_reservation,
    plan_unreservation,
)
from podway.store.etcd_client import EtcdClient
from podway.store.etcd_keys import EtcdKeys
from podway.store.etcd_messages import (
    KeyValue,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
)
from podway.store.etcd_plans import (
    ClaimPlan,
    plan_claim,
    plan_release,
    render_claim,
)
from podway.store.etcd_steps import whole_range, written
from podway.store.etcd_view import Entry, EtcdView
from podway.store.etcd_watch import EtcdOptions, EtcdWatch
from podway.store.protocol import (
    LeaseLost,
    NodeStatus,
    Reservation,
    StoreAway,
    StoredNetwork,
    StoreError,
    StoreEvent,
)

# So often is a decision made anew because somebody else was quicker.
ATTEMPTS_MAX = 50
# Questions about etcd leases under way at the same time.
_ASKING_MAX = 16


class EtcdStore:
    """One network in one etcd cluster, seen from one client.

    Attributes:
        counts: what it has sent, and what it could not read.
    """

    def __init__(self, client: EtcdClient, keys: EtcdKeys, options: EtcdOptions) -> None:
        self._client = client
        self._keys = keys
        self._options = options
        self._watch: EtcdWatch | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        # Etcd leases that were made for a node's claim and hold nothing yet, as far as is known.
        self._spares: dict[str, int] = {}
        self.counts: StoreCounts = client.counts

    # -- the Store protocol

    async def watch(self) -> AsyncIterator[StoreEvent]:
        """Yield a snapshot, then every change, for ever; `Away` and `Back` as they happen.

        A second watch ends the first one's stream: there is one at a time.
        """
        self._check_open()
        await self._end_watch()
        watch = self._watch = EtcdWatch(self._client, self._keys, self._options)
        task = self._task = asyncio.get_running_loop().create_task(watch.run())
        task.add_done_callback(lambda _: watch.mailbox.close())
        try:
            while (event := await watch.mailbox.get()) is not None:
                yield event
            if not task.cancelled():
                task.result()  # a fault of ours is not to pass for silence
        finally:
            if self._task is task:
                await self._end_watch()

    async def claim(self, claim: Claim) -> Node:
        """Lease one subnet per family, all or none. Raises ClaimRefused, StoreAway, StoreError."""
        view = await self._current()
        try:
            return await self._claim(view, claim)
        except StoreAway:
            raise  # it may have been carried out; the next attempt takes the same etcd lease
        except StoreError:
            await self._drop_leases({self._spares.pop(claim.name, 0)})
            raise

    async def renew(self, name: str) -> None:
        """Start the lease's time to live anew. Raises LeaseLost, StoreAway, StoreError."""
        entry = await self._find(name)
        if entry is None:
            raise LeaseLost(f"node {name} has no lease (any more): claim one")
        lease = entry.stored.lease
        if lease and not await self._client.keep_alive(lease):
            raise LeaseLost(f"the lease of node {name} has ended: claim one")

    async def release(self, name: str) -> None:
        """Give the node's lease back; an administrator removes any node so."""
        entry = await self._find(name)
        await self._carry_out(lambda view: plan_release(view, self._keys, name))
        if entry is not None and entry.is_named:
            await self._drop_leases({entry.stored.lease})

    def recheck(self) -> None:
        """Ask anew what is asked from addresses that this machine has lost."""
        self._client.recheck()

    async def close(self) -> None:
        """End the stream of who watches."""
        self._closed = True
        await self._end_watch()

    # -- an administrator's calls

    async def get_network(self) -> StoredNetwork | None:
        """Return the network configuration, None where there is none yet."""
        reply = await self._range(RangeRequest(key=self._keys.config))
        for kv in reply.kvs:
            return StoredNetwork(kv.value.decode(errors="replace"), kv.mod_revision)
        return None

    async def put_network(
        self, text: str, *, expected_revision: int | None = None, force: bool = False
    ) -> int:
        """Configure the network; return its revision. Raises ValueRefused, Conflict."""
        revision = await self._carry_out(
            lambda view: plan_network(view, self._keys, text, expected_revision, force=force)
        )
        if revision:
            return revision
        stored = await self.get_network()
        return 0 if stored is None else stored.revision

    async def list_nodes(self) -> tuple[NodeStatus, ...]:
        """Return every node with the state of its lease, by name."""
        view = await self._read()
        entries = sorted(view.entries.values(), key=lambda entry: entry.name)
        limit = asyncio.Semaphore(_ASKING_MAX)

        async def status(entry: Entry, node: Node) -> NodeStatus:
            kv = entry.stored
            if not kv.lease:
                return NodeStatus(node=node, revision=kv.mod_revision, ttl_s=0, expires_in_s=None)
            async with limit:
                term = await self._client.time_to_live(kv.lease)
            return NodeStatus(
                node=node,
                revision=kv.mod_revision,
                ttl_s=term.granted_s,
                expires_in_s=float(max(0, term.TTL)),
            )

        asked = (status(entry, entry.node) for entry in entries if entry.node is not None)
        return tuple(await asyncio.gather(*asked))

    async def list_reservations(self) -> tuple[Reservation, ...]:
        """Return every reservation, by name of the node; leases that never end are some."""
        view = await self._read()
        kept = {entry.name: entry.subnets for entry in view.entries.values() if _is_kept(entry)}
        return tuple(Reservation(*item) for item in sorted({**kept, **view.reservations}.items()))

    async def reserve(self, name: str, subnets: Sequence[IPNetwork]) -> None:
        """Keep *subnets*, at most one a family, for the node called *name*, present or to come.

        A flanneld knows no names and takes only what is kept for its public address.

        Raises:
            ClaimRefused: a subnet does not fit the network or is another node's.
        """
        await self._carry_out(lambda view: plan_reservation(view, self._keys, name, subnets))

    async def unreserve(self, name: str) -> None:
        """Remove the reservation for *name*; no error when there is none."""
        await self._carry_out(lambda view: plan_unreservation(view, self._keys, name))

    # -- inside

    def _check_open(self) -> None:
        if self._closed:
            raise StoreAway("this store was closed")

    async def _end_watch(self) -> None:
        task, self._task, self._watch = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _range(self, request: RangeRequest) -> RangeResponse:
        self._check_open()
        return await self._client.range(request)

    async def _read(self) -> EtcdView:
        """Return all that etcd holds now."""
        reply = await self._range(whole_range(self._keys))
        return EtcdView(self._keys, reply.kvs, reply.header.revision)

    async def _current(self) -> EtcdView:
        """Return what is known by watching, or else by asking."""
        self._check_open()
        if self._watch is not None and self._watch.live:
            return self._watch.view
        return await self._read()

    async def _find(self, name: str) -> Entry | None:
        """Return the lease of the node called *name*, by few and small requests."""
        self._check_open()
        if self._watch is not None and self._watch.live:
            return self._watch.view.find(name)
        kvs: list[KeyValue] = []
        reply = await self._range(RangeRequest(key=self._keys.nodes + name.encode()))
        kvs += reply.kvs
        record = EtcdView(self._keys, kvs).records.get(name)
        key = name if record is None else record.value.key
        reply = await self._range(RangeRequest(key=self._keys.subnets + key.encode()))
        return EtcdView(self._keys, (*kvs, *reply.kvs)).find(name)

    async def _claim(self, view: EtcdView, claim: Claim) -> Node:
        for attempt in range(ATTEMPTS_MAX):
            plan = plan_claim(view, self._keys, claim, attempt)
            kept = plan.own.stored.lease if plan.own is not None else 0
            lease = await self._lease_for(plan, claim, kept)
            txn = render_claim(self._keys, plan, lease)
            if txn is None:
                return plan.node
            reply = await self._client.txn(txn)
            if reply.succeeded:
                self._learn(txn, reply)
                await self._drop_leases({kept, self._spares.pop(claim.name, 0)} - {lease})
                self._check_held(claim.name)
                return plan.node
            view = self._view_in(reply)
        raise StoreAway(f"claim of node {claim.name}: others were quicker {ATTEMPTS_MAX} times")

    def _check_held(self, name: str) -> None:
        """Raise StoreAway if the watch has told already that the lease is gone again."""
        if self._watch is not None and self._watch.live and self._watch.view.find(name) is None:
            raise StoreAway(f"node {name}: its lease was taken away while it was claimed")

    async def _lease_for(self, plan: ClaimPlan, claim: Claim, kept: int) -> int:
        """Return the etcd lease that *plan* is to be written with; 0: none, it never ends."""
        if plan.reserved or not claim.ttl_s:
            return 0
        spare = self._spares.get(claim.name, 0)
        for lease in (kept, spare):
            if lease and await self._client.keep_alive(lease) == claim.ttl_s:
                return lease
        self._spares[claim.name] = await self._client.grant(claim.ttl_s)
        await self._drop_leases({spare} - {kept})
        return self._spares[claim.name]

    async def _drop_leases(self, leases: set[int]) -> None:
        """End etcd *leases* that hold nothing any more; they would end by themselves, too."""
        for lease in leases - {0}:
            with suppress(StoreError):
                await self._client.revoke(lease)

    async def _carry_out(self, plan: Callable[[EtcdView], TxnRequest | None]) -> int:
        """Carry out what *plan* makes of the state; return the revision, 0 for nothing to do."""
        view = await self._read()
        for _ in range(ATTEMPTS_MAX):
            txn = plan(view)
            if txn is None:
                return 0
            reply = await self._client.txn(txn)
            if reply.succeeded:
                self._learn(txn, reply)
                return reply.header.revision
            view = self._view_in(reply)
        raise StoreAway(f"others were quicker {ATTEMPTS_MAX} times")

    def _view_in(self, reply: TxnResponse) -> EtcdView:
        """Return the state that a transaction found in place of the one that it expected."""
        for response in reply.responses:
            if response.response_range is not None:
                kvs = response.response_range.kvs
                return EtcdView(self._keys, kvs, reply.header.revision)
        raise StoreAway("etcd refused a transaction and did not say why")

    def _learn(self, txn: TxnRequest, reply: TxnResponse) -> None:
        if self._watch is not None:
            revision = reply.header.revision
            self._watch.learn(written(txn, revision), revision)


def _is_kept(entry: Entry) -> bool:
    return entry.node is not None and not entry.stored.lease
