"""One lease's client: gives the machine clock, dice and sockets, and does what it says.

In: an interface, and what to ask for. Out: a lease that is kept until released, on disk besides.
Called by `service`. All clients share one thread; a client at rest has a timer, and its `line`
closed.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from podway.cni.errors import IO_FAILURE, TRY_AGAIN_LATER, CniError
from podway.dhcp.arp import find_claim
from podway.dhcp.errors import InterfaceError
from podway.dhcp.interfaces import PlaceHolder, set_link
from podway.dhcp.lease_files import Key, LeaseFiles, Record
from podway.dhcp.leases import Lease
from podway.dhcp.line import Line
from podway.dhcp.machine import step
from podway.dhcp.states import (
    ENDS,
    SILENT,
    Action,
    Began,
    Bound,
    Claimed,
    Context,
    Dice,
    Ended,
    Event,
    Failed,
    Identity,
    Lost,
    Patience,
    Phase,
    Probe,
    Rebooted,
    Send,
    State,
    Woke,
)
from podway.kernel.logs import get_log

# Timers of asyncio stand still while the machine sleeps; leases do not.
_LONGEST_SLEEP_S: Final = 300.0
_log = get_log("podway.dhcp")


@dataclass(frozen=True, slots=True)
class Keeping:
    """What all clients share.

    Attributes:
        patience: how long to wait for servers.
        files: where leases are kept.
        on_end: called when a lease has ended by itself, its interface being gone.
    """

    patience: Patience
    files: LeaseFiles
    on_end: Callable[["LeaseClient"], None]


class LeaseClient:
    """Gets one lease, and keeps it.

    Args:
        key: whose it is.
        holder: of its place; closed with the client.
        identity: what servers are told; the MAC address is the interface's, whenever it is used.
        keeping: what all clients share.
    """

    def __init__(self, key: Key, holder: PlaceHolder, identity: Identity, keeping: Keeping) -> None:
        self.key = key
        self.place = holder.place
        self._holder = holder
        self._identity = identity
        self._keeping = keeping
        self._state = State()
        self._line = Line(holder, self._who(), self._happen, self._answered)
        self._timer: asyncio.TimerHandle | None = None
        self._acquired: asyncio.Future[Lease] | None = None

    @property
    def phase(self) -> Phase:
        """Where the lease is in its life."""
        return self._state.phase

    @property
    def lease(self) -> Lease | None:
        """The lease, if there is one that has not run out."""
        lease = self._state.lease
        alive = self.phase not in ENDS and lease is not None and now_s() < lease.expiry_s
        return lease if alive else None

    @property
    def is_acquiring(self) -> bool:
        """Somebody waits for a first lease."""
        return self._acquired is not None and not self._acquired.done()

    async def acquire(self) -> Lease:
        """Get a lease, or wait for the one that is being got.

        Raises:
            CniError: TRY_AGAIN_LATER, no server gives one; IO_FAILURE, the interface cannot be
                used.
        """
        if self._acquired is None:
            self._acquired = asyncio.get_running_loop().create_future()
            try:
                with self._holder.opened() as descriptor:
                    set_link(descriptor, self.place.ifname, is_up=True)
                self._open_line()
            except InterfaceError as error:
                self._fail(CniError(IO_FAILURE, str(error)))
            else:
                self._happen(Began())
        # The caller may be cancelled; the lease is everybody's.
        return await asyncio.shield(self._acquired)

    def resume(self, lease: Lease, delay_s: float) -> None:
        """Go on with a lease from before the daemon's start, after *delay_s*."""
        self._state = replace(self._state, phase=Phase.INIT, lease=lease)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._happen, Rebooted())

    def release(self) -> None:
        """Give the lease back, or stop getting it."""
        self._happen(Ended())
        self._finish("released")

    def close(self) -> None:
        """Let go of sockets and timer; the lease stays, on disk, for the next daemon."""
        self._line.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._holder.close()

    # -- events -----------------------------------------------------------------------------------

    def _happen(self, event: Event) -> None:
        """Take one step; what the interface refuses is tried again when the state says so."""
        for part in (self._prepare, self._step):
            try:
                part(event)
            except InterfaceError as error:
                if error.is_gone:
                    self._abandon(error)
                    return
                _log.warning("interface trouble", **self._who(), reason=str(error))
        if self._state.phase in SILENT:
            self._line.close_socket()
        if self._state.phase is not Phase.PROBING:
            self._line.close_probes()
        self._set_timer()

    def _prepare(self, event: Event) -> None:
        """Open the line if this event may lead to a message."""
        match event:
            case Woke():
                is_needed = now_s() >= self._state.wake_s
            case Ended():
                is_needed = self.lease is not None
            case _:
                is_needed = True
        if is_needed:
            self._open_line()

    def _step(self, event: Event) -> None:
        dice = Dice(xid=random.getrandbits(32), jitter=random.uniform(-1, 1))  # noqa: S311
        context = Context(self._identity, self._keeping.patience, now_s(), dice)
        self._state, actions = step(self._state, event, context)
        self._do_all(actions)

    def _do_all(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Send():
                    self._line.send(action, self._state.lease or self._state.candidate)
                case Probe():
                    self._line.ask(action.address, self._identity.mac)
                case Bound():
                    self._bind(action.lease)
                case Failed():
                    self._fail(CniError(TRY_AGAIN_LATER, f"no lease by DHCP: {action.reason}"))
                case Lost():
                    self._lose()

    def _bind(self, lease: Lease) -> None:
        """Keep the lease; nobody is told of one that could not be kept."""
        record = Record(
            key=self.key,
            place=self.place,
            client_id=self._identity.client_id,
            requested=self._identity.requested,
            provided=dict(self._identity.provided),
            lease=lease,
        )
        try:
            self._keeping.files.write(record)
        except OSError as error:
            _log.error("lease not on disk", **self._who(), reason=str(error))
            if self.is_acquiring:
                self._happen(Ended())
                self._fail(CniError(IO_FAILURE, f"the lease cannot be kept: {error}"))
                return
        _log.info(
            "bound",
            **self._who(),
            address=lease.address,
            server=lease.server,
            expires_in_s=round(lease.expiry_s - now_s()) if lease.expiry_s < 1e18 else "never",
        )
        if self._acquired is not None and self.is_acquiring:
            self._acquired.set_result(lease)

    def _lose(self) -> None:
        lease = self._state.lease
        _log.error(
            "lease expired, interface goes down",
            **self._who(),
            address=lease.address if lease else "",
            reason=self._state.complaint or "no server answers",
        )
        self._keeping.files.remove(self.key)
        try:
            with self._holder.opened() as descriptor:
                set_link(descriptor, self.place.ifname, is_up=False)
        finally:
            self._holder.close()

    # -- ends -------------------------------------------------------------------------------------

    def _abandon(self, error: InterfaceError) -> None:
        """End a lease whose interface is gone: nobody is left to tell the server."""
        _log.info("lease abandoned", **self._who(), reason=str(error))
        self._finish(str(error))
        self._keeping.on_end(self)

    def _finish(self, reason: str) -> None:
        self._state = replace(self._state, phase=Phase.RELEASED)
        self._keeping.files.remove(self.key)
        self._fail(CniError(TRY_AGAIN_LATER, f"no lease by DHCP: {reason}"))

    def _fail(self, error: CniError) -> None:
        """End without a lease, and tell who waits for one."""
        if self._acquired is not None and self.is_acquiring:
            self._acquired.set_exception(error)
            # Whoever waited may have been cancelled: nobody need look at it.
            self._acquired.exception()
        self.close()

    # -- line and timer ---------------------------------------------------------------------------

    def _open_line(self) -> None:
        """Open the line, if it is not, and look at the interface's MAC address anew."""
        mac = self._line.open()
        if mac is not None:
            self._identity = replace(self._identity, mac=mac)

    def _answered(self, packet: bytes) -> None:
        """Look whether somebody says that he has the address that the container may get."""
        candidate = self._state.candidate
        if candidate is None:
            return
        claimant = find_claim(packet, candidate.address, self._identity.mac)
        if claimant is not None:
            _log.warning(
                "address in use", **self._who(), address=candidate.address, by=claimant.hex(":")
            )
            self._happen(Claimed(claimant))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._state.phase in ENDS:
            return
        delay_s = min(max(self._state.wake_s - now_s(), 0.0), _LONGEST_SLEEP_S)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._happen, Woke())

    def _who(self) -> dict[str, object]:
        return {
            "network": self.key.network,
            "container": self.key.container_id,
            "interface": self.key.ifname,
        }


def now_s() -> float:
    """Return the time by which leases count: since the machine's start, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
