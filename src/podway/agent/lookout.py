"""What the kernel says: notifications become marks, marks become reads, reads tell the tracker.

In: a `Kernel`, its notifications, timers, and whoever wants a device looked at. Out: `observe*`
calls to the tracker, and the node's uplink. Only passes call `hear` and `read`, one after the
other, so that what was read is never older than what was seen happening since.

A kernel that cannot be read is no reason to stop: what was to be read is read again, all of it,
after a pause, and until then the agent works with what it knows. Only before the first complete
read it knows nothing, and must not write.
"""

import asyncio
from collections.abc import Callable, Iterable

from podway.agent.kernel_thread import KernelThread
from podway.agent.uplinks import find_uplink
from podway.diff.tracker import Tracker
from podway.errors import PodwayError
from podway.kernel.logs import Log
from podway.kernel.protocol import (
    DeviceChanged,
    ForwardChanged,
    Kernel,
    KernelEvent,
    Overrun,
    Seen,
    UplinkChanged,
)
from podway.model.addresses import Family
from podway.model.kernel import Key
from podway.model.nodes import Uplink, UplinkChoice

REREAD_S = 1.0
# What changes in silence is found within this time, and mended at once.
POLL_S = 0.8


class Lookout:
    """Keeps what is known of the kernel as it is.

    Args:
        choice: which interface is the uplink; nothing for that of the default route.
        tracker: is told what there is.
        thread: where the kernel is called.
        wake: has a pass made soon; here for whoever has something looked at.

    Attributes:
        uplink: as last found; kept while its device is away, because it most likely comes back.
        uplink_error: why there is none now, for people.
        complete: everything was read at least once.
        forward_due: iptables' FORWARD may have changed since somebody last took this mark away.
        forward_drops: chains of others that drop what is forwarded and they do not accept.
        error: why what is known may be wrong, for people.
    """

    def __init__(
        self,
        choice: UplinkChoice,
        tracker: Tracker,
        thread: KernelThread,
        wake: Callable[[], None],
        log: Log,
    ) -> None:
        self.uplink: Uplink | None = None
        self.uplink_error = ""
        self.complete = False
        self.forward_due = True
        self.forward_drops: tuple[str, ...] = ()
        self.error = ""
        self._choice = choice
        self._tracker = tracker
        self._thread = thread
        self.wake = wake
        self._log = log
        self._kernel: Kernel | None = None
        self._spoke = False
        self._uplink_due = True
        self._all_due = True
        self._drops_due = True
        self._drops_error = ""
        self._sysctls_due = False
        self._devices_due: set[str] = set()
        self._again: asyncio.TimerHandle | None = None

    def start(self, kernel: Kernel) -> None:
        """Listen to *kernel* from now on."""
        self._kernel = kernel
        asyncio.get_running_loop().add_reader(kernel.fileno(), self._on_kernel)

    def stop(self) -> None:
        """Listen no longer."""
        if self._kernel is not None:
            asyncio.get_running_loop().remove_reader(self._kernel.fileno())
        if self._again is not None:
            self._again.cancel()

    # --- marks ----------------------------------------------------------------------------------

    def look_at_all(self) -> None:
        """Have everything of ours, and the uplink, read again."""
        self._doubt_all()
        self.wake()

    def look_at(self, dev: str) -> None:
        """Have device *dev* read again, with all that stands on it."""
        self._devices_due.add(dev)
        self.wake()

    def look_at_forward(self) -> None:
        """Have iptables' FORWARD looked at again."""
        self.forward_due = True
        self.wake()

    async def poll(self, sysctls: Callable[[], Iterable[Key]]) -> None:
        """Look for ever at what changes in silence: *sysctls*, and a default route to come.

        A look that finds nothing new costs no pass: this is all that an idle agent does.
        """
        while True:
            await asyncio.sleep(POLL_S)
            try:
                changed = await self._sysctls_changed(list(sysctls()))
            except PodwayError as error:
                self.distrust(error)
                continue
            if changed or self.uplink_error:
                self._sysctls_due = True
                self._uplink_due = self._uplink_due or bool(self.uplink_error)
                self.wake()

    async def _sysctls_changed(self, keys: list[Key]) -> bool:
        if self._kernel is None or not keys:
            return False
        found = await self._thread.call(self._kernel.check_sysctls, keys)
        return any(self._tracker.observed(seen.key) != seen.found for seen in found)

    def distrust(self, error: PodwayError) -> None:
        """Because of *error* what is known may be wrong: have it all read again after a pause."""
        if self.error != str(error):
            self._log.error("kernel fails", reason=str(error))
        self.error = str(error)
        if self._again is None:
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(REREAD_S, self._read_again)

    def _read_again(self) -> None:
        self._again = None
        self.look_at_all()

    def _on_kernel(self) -> None:
        assert self._kernel is not None
        asyncio.get_running_loop().remove_reader(self._kernel.fileno())
        self._spoke = True
        self.wake()

    # --- reads ----------------------------------------------------------------------------------

    async def hear(self) -> bool:
        """Take in what happened; tell whether the uplink is another one than before."""
        before = self.uplink
        try:
            if self._spoke:
                await self._drain()
            if self._uplink_due:
                await self._read_uplink()
        except PodwayError as error:
            self.distrust(error)
        return self.uplink != before

    async def read(self, sysctls: Iterable[Key]) -> None:
        """Read what is due; *sysctls* are those to look at when it is their turn."""
        try:
            if self._all_due:
                await self._read_all()
            if self._sysctls_due:
                await self._read_sysctls(list(sysctls))
            if self._drops_due:
                await self._read_forward_drops()
            # Last: whoever had a device looked at meanwhile may wait for the pass under way.
            while self._devices_due:
                await self._read_device(self._devices_due.pop())
        except PodwayError as error:
            self.distrust(error)

    async def _drain(self) -> None:
        assert self._kernel is not None
        self._spoke = False
        try:
            events = await self._thread.call(self._kernel.drain)
        finally:
            asyncio.get_running_loop().add_reader(self._kernel.fileno(), self._on_kernel)
        for event in events:
            self._see(event)

    def _see(self, event: KernelEvent) -> None:
        match event:
            case Seen(key, found):
                self._tracker.observe(key, found)
                if key.kind == "address" and found is None:
                    # The last IPv4 address takes the device's IPv4 routes along, in silence
                    # (net/ipv4/fib_frontend.c, fib_inetaddr_event).
                    self._devices_due.add(str(key.parts[0]))
            case DeviceChanged(dev):
                self._devices_due.add(dev)
                self._tracker.retry(dev)
                self._doubt_uplink(dev)
            case UplinkChanged(dev):
                self._doubt_uplink(dev)
            case ForwardChanged():
                self.forward_due = self._drops_due = True
            case Overrun():
                self._doubt_all()

    def _doubt_all(self) -> None:
        self._all_due = self._uplink_due = self.forward_due = self._drops_due = True

    def _doubt_uplink(self, dev: str) -> None:
        if self.uplink is None or self.uplink_error or dev in self.uplink.devices:
            self._uplink_due = True

    async def _read_uplink(self) -> None:
        assert self._kernel is not None
        self._uplink_due = False
        found = await self._thread.call(find_uplink, self._kernel, self._choice)
        if found is None:
            self._miss_uplink(f"this node has no {self._choice}: name its interface with --uplink")
            return
        if self.uplink is not None:
            self._miss_addresses(self.uplink, found)
        self.uplink, self.uplink_error = found, ""

    def _miss_uplink(self, error: str) -> None:
        """Say once that there is none: it is looked for again without end."""
        if error != self.uplink_error:
            self._log.warning("no uplink", reason=error)
        self.uplink_error = error

    def _miss_addresses(self, before: Uplink, after: Uplink) -> None:
        """Have devices read again that lost an address: as for our own ones, see `_see`."""
        for family in Family:
            if set(before.of(family).addresses) - set(after.of(family).addresses):
                self._devices_due.add(after.of(family).dev)

    async def _read_all(self) -> None:
        assert self._kernel is not None
        self._all_due = self._sysctls_due = False
        self._devices_due.clear()
        state = await self._thread.call(self._kernel.read, list(self._tracker.wanted()))
        self._tracker.observe_all(state)
        self.complete, self.error = True, ""

    async def _read_device(self, dev: str) -> None:
        assert self._kernel is not None
        wanted = self._tracker.wanted_on(dev)
        self._tracker.observe_device(
            dev, await self._thread.call(self._kernel.read_dev, dev, wanted)
        )

    async def _read_sysctls(self, keys: list[Key]) -> None:
        assert self._kernel is not None
        self._sysctls_due = False
        if keys:
            for seen in await self._thread.call(self._kernel.check_sysctls, keys):
                self._tracker.observe(seen.key, seen.found)

    async def _read_forward_drops(self) -> None:
        """Look at what others drop: a remark for people, and no reason to distrust what is ours.

        What cannot be read is looked at again with everything else, or when it has changed.
        """
        assert self._kernel is not None
        self._drops_due = False
        before, error = self.forward_drops, ""
        try:
            self.forward_drops = await self._thread.call(self._kernel.find_forward_drops)
        except PodwayError as failure:
            error = str(failure)
        if error and error != self._drops_error:
            self._log.warning("nobody knows what others drop of what is forwarded", reason=error)
        self._drops_error = error
        if self.forward_drops and self.forward_drops != before:
            self._log.info("others drop what is forwarded", chains=", ".join(self.forward_drops))
