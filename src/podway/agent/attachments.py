"""CNI's verbs on this node: ADD, DEL, CHECK and GC as decisions, in order; STATUS in `serving`.

ADD  1. hold addresses in memory   2. write them down   3. make the interface, while the disk
     takes what was written   4. answer. Whatever fails is undone in the other direction; whatever
     is killed in between is found in the ledger by the next life and by the runtime's DEL.
DEL  1. take the interface away   2. write down that its addresses rest   3. answer.

An address is thus never free while anything in a kernel may still have it. All verbs may be
repeated; two calls for one interface wait for each other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from itertools import count

from podway.agent.agent import Agent
from podway.agent.endpoints import namespace_identity
from podway.agent.ledger import LedgerError
from podway.agent.serving import check_endpoint, check_ours, check_status, serving_place
from podway.agent.turns import Turns
from podway.agent.waiters import Unsettled
from podway.agent.wishes import attach_of, fits, pod_name
from podway.cni.errors import (
    FIRST_PLUGIN_CODE,
    INVALID_NETNS,
    TRY_AGAIN_LATER,
    UNKNOWN_CONTAINER,
    CniError,
)
from podway.cni.podway_conf import PodwayConf, parse_podway_conf
from podway.cni.requests import Request
from podway.cni.results import Result
from podway.compute.addresses import AddressError, PoolCooling
from podway.compute.mtu import interface_mtu
from podway.compute.node import Place
from podway.compute.results import compute_result
from podway.diff.tracker import Failure
from podway.model.endpoints import Endpoint, EndpointKey
from podway.model.kernel import PodSide
from podway.model.networks import Attach

# Codes of podway's own (SPEC: from 100 on).
NO_ADDRESS = FIRST_PLUGIN_CODE
KERNEL_REFUSED = FIRST_PLUGIN_CODE + 1


class Attachments:
    """Serves CNI requests.

    Args:
        agent: whose node it is.
        check_pod: returns what is wrong inside a pod's namespace; called in the kernel's thread.
    """

    def __init__(self, agent: Agent, check_pod: Callable[[PodSide], list[str]]) -> None:
        self._agent = agent
        self._check_pod = check_pod
        self._turns = Turns()
        # Which of all ADDs of this life was the last one for an endpoint.
        self._added: dict[EndpointKey, int] = {}
        self._numbers = count()

    async def serve(self, request: Request, netns_fd: int | None) -> Result | None:
        """Carry out *request*; return the result of an ADD, None for the other verbs.

        Raises:
            CniError: with the number and the sentence for the runtime.
        """
        key = EndpointKey(request.config.name, request.container_id, request.ifname)
        match request.command:
            case "ADD":
                assert netns_fd is not None, "the frame's descriptors were checked"
                async with self._turns.turn(key):
                    try:
                        return await self._add(request, key, netns_fd)
                    finally:
                        self._mark_added(key)
            case "CHECK":
                async with self._turns.turn(key):
                    await self._check(request, key)
            case "DEL":
                await self.remove(key)
            case "GC":
                await self._collect(request)
            case _:
                check_status(self._agent)
        return None

    # --- ADD ------------------------------------------------------------------------------------

    async def _add(self, request: Request, key: EndpointKey, netns_fd: int) -> Result:
        self._place()
        check_ours(self._agent)
        conf = parse_podway_conf(request)
        identity = namespace_identity(netns_fd)
        if identity == namespace_identity("/proc/self/ns/net") and not request.netns_override:
            raise CniError(INVALID_NETNS, f"CNI_NETNS {request.netns} is the node's own namespace")
        existing = self._agent.endpoints.get(key)
        if existing is not None:
            same = self._answers(existing, conf, identity)
            if same and not await self._settle(key) and fits(existing, self._place()):
                return self._result(existing)
            await self._remove(key)
        endpoint = self._allocate(request, conf, key, identity)
        await self._make(endpoint, identity, netns_fd)
        return self._result(endpoint)

    def _result(self, endpoint: Endpoint) -> Result:
        return compute_result(endpoint, self._place(), self._agent.settings.names.bridge)

    def _answers(self, existing: Endpoint, conf: PodwayConf, identity: str) -> bool:
        """Tell whether *existing*, from a call whose answer was lost, is what is asked for."""
        wished = {ip_address(wish.address) for wish in conf.ips}
        return (
            self._agent.endpoints.identity(existing.key) == identity
            and not self._agent.endpoints.is_detached(existing.key)
            and wished <= set(existing.addresses)
            and conf.attach in (None, existing.attach)
            and conf.mac in ("", existing.mac)
        )

    def _allocate(
        self, request: Request, conf: PodwayConf, key: EndpointKey, identity: str
    ) -> Endpoint:
        """Hold addresses for the endpoint and write both down."""
        ipam, place = self._agent.ipam, self._place()
        if self._agent.leases.leaving:
            raise CniError(TRY_AGAIN_LATER, "this node is being given another subnet")
        try:
            addresses = ipam.take(ip_address(wish.address) for wish in conf.ips)
        except PoolCooling as error:
            raise CniError(TRY_AGAIN_LATER, str(error)) from error
        except AddressError as error:
            raise CniError(NO_ADDRESS, str(error)) from error
        attach = attach_of(conf, place)
        endpoint = Endpoint(
            key=key,
            netns=request.netns,
            addresses=addresses,
            attach=attach,
            mtu=conf.mtu_bytes or self._usual_mtu(attach, place),
            pod=pod_name(request),
            mac=conf.mac,
        )
        try:
            ipam.add(endpoint, identity)
        except LedgerError as error:
            raise CniError(TRY_AGAIN_LATER, str(error)) from error
        return endpoint

    def _usual_mtu(self, attach: Attach, place: Place) -> int:
        """Return the MTU for a new interface: that of its bridge's other ports, if there are any.

        (`podway.compute.mtu` says why.)
        """
        others = self._agent.endpoints.bridged_mtus if attach == "bridge" else frozenset()
        return max(others, default=interface_mtu(place.mtus))

    async def _make(self, endpoint: Endpoint, identity: str, netns_fd: int) -> None:
        """Bring *endpoint* into the kernel and onto the disk, or leave nothing of it."""
        agent, key = self._agent, endpoint.key
        agent.endpoints.put(endpoint, identity, f"/proc/self/fd/{netns_fd}")
        try:
            await _all(self._flush(), self._bring_up(endpoint))
        except BaseException:
            await asyncio.shield(self._undo(key))
            raise
        finally:
            agent.endpoints.landed(key)
            agent.desires.refresh_endpoints(agent.endpoints)

    async def _bring_up(self, endpoint: Endpoint) -> None:
        failures = await self._settle(endpoint.key)
        if self._agent.endpoints.is_detached(endpoint.key):
            raise CniError(UNKNOWN_CONTAINER, f"the namespace {endpoint.netns} is gone")
        if failures:
            raise CniError(KERNEL_REFUSED, str(failures[0].error))
        if not fits(endpoint, self._place()):
            text = f"this node was given other subnets while {endpoint.key} was attached"
            raise CniError(TRY_AGAIN_LATER, text)

    def _place(self) -> Place:
        return serving_place(self._agent, TRY_AGAIN_LATER)

    async def _flush(self) -> None:
        """Return when the disk has what was written down."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._agent.ledger.flush)
        except LedgerError as error:
            raise CniError(TRY_AGAIN_LATER, str(error)) from error

    async def _settle(self, key: EndpointKey) -> list[Failure]:
        """Return what stands in the way of the endpoint with *key*, after the next pass."""
        try:
            return await self._agent.settling.endpoint(key)
        except Unsettled as error:
            raise CniError(TRY_AGAIN_LATER, str(error)) from error

    async def _undo(self, key: EndpointKey) -> None:
        try:
            await self._remove(key)
        except CniError as error:
            # The endpoint stays known and held; the runtime's DEL will find it.
            self._agent.log.warning("endpoint not undone", endpoint=str(key), reason=str(error))

    # --- DEL and GC -----------------------------------------------------------------------------

    async def remove(self, key: EndpointKey) -> None:
        """Take the endpoint with *key* away and let its addresses rest; gone already is fine.

        Raises:
            CniError: the kernel or the ledger refused; the addresses stay held.
        """
        async with self._turns.turn(key):
            await self._remove(key)

    async def _remove(self, key: EndpointKey) -> None:
        agent = self._agent
        endpoint = agent.endpoints.get(key)
        if endpoint is None:
            return
        agent.endpoints.detach(key)
        failures = await self._settle(key)
        if failures:
            raise CniError(TRY_AGAIN_LATER, str(failures[0].error))
        try:
            agent.ipam.remove(key, endpoint.addresses)
        except LedgerError as error:
            raise CniError(TRY_AGAIN_LATER, str(error)) from error
        agent.endpoints.drop(key)
        self._added.pop(key, None)
        if agent.node.is_drained():
            agent.leases.look_again()  # it may have been the last address in use there
        # With the last bridged pod goes the bridge of a node whose pods are routed.
        agent.wake()
        await self._flush()

    async def _collect(self, request: Request) -> None:
        """GC: remove every endpoint of the network that the runtime does not name.

        One that an ADD made, or found there, since is none of them: when the runtime made its list
        nobody had told it so.
        """
        valid = request.config.valid_attachments
        if valid is None:
            return
        named = {(item.container_id, item.ifname) for item in valid}
        stale = [
            endpoint.key
            for endpoint in self._agent.endpoints
            if endpoint.key.network == request.config.name
            and (endpoint.key.container_id, endpoint.key.ifname) not in named
        ]
        removals = [self._remove_unless_added(key, self._added.get(key)) for key in stale]
        outcomes = await asyncio.gather(*removals, return_exceptions=True)
        errors = [error for error in outcomes if isinstance(error, BaseException)]
        if errors:
            text = f"{len(errors)} of {len(stale)} stale attachments remain"
            raise CniError(TRY_AGAIN_LATER, f"{text}, first: {errors[0]}")

    async def _remove_unless_added(self, key: EndpointKey, added: int | None) -> None:
        async with self._turns.turn(key):
            if self._added.get(key) == added:
                await self._remove(key)

    def _mark_added(self, key: EndpointKey) -> None:
        """Remember that an ADD for *key* has ended, if it has left anything."""
        if self._agent.endpoints.get(key) is not None:
            self._added[key] = next(self._numbers)

    # --- CHECK ----------------------------------------------------------------------------------

    async def _check(self, request: Request, key: EndpointKey) -> None:
        endpoint = self._agent.endpoints.get(key)
        if endpoint is None:
            raise CniError(UNKNOWN_CONTAINER, f"{key} is not attached to this node")
        self._agent.lookout.look_at(endpoint.host_ifname)
        failures = await self._settle(key)
        await check_endpoint(self._agent, endpoint, request, failures, self._check_pod)


async def _all(*works: Awaitable[None]) -> None:
    """Wait until all of *works* are over, then raise what the first one raised, if it did."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if outcome is not None:
            raise outcome
