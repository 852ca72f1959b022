"""Devices, followed from notification to notification: what they are called and whose they are.

In: what rtnetlink says of a device, in the kernel's order, and what we are about to do to one. Out:
the device before and after, the name that an index has at that moment, and events for devices that
others brought up or down and for those that are not ours. Called by `podway.kernel.events`.

Why it is hard: a device that we bring up or down is told of as if another did it, and one that we
make bears our mark only from its second notification on. So our own doings are announced before
they happen, and what was told meanwhile is settled once they are done.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from podway.kernel.known import Known
from podway.kernel.protocol import DeviceChanged, KernelEvent, UplinkChanged
from podway.model.instances import Marks
from podway.model.kernel import link_key
from podway.netlink.constants import IFF_RUNNING, IFF_UP

if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage


class FollowedDevice(Struct, frozen=True):
    """What notifications said of a device last."""

    name: str
    up: bool
    running: bool
    mtu: int
    ours: bool


class FollowedDevices:
    """The devices of one namespace, as far as they were told.

    Args:
        known: what we wrote and read; a device that has a key there is ours.
        name_of: gives a device's name for its index, "" for none; for devices that no
            notification spoke of yet.
        marks: tell what is ours.
    """

    def __init__(self, known: Known, name_of: Callable[[int], str], marks: Marks) -> None:
        self._known = known
        self._name_of = name_of
        self._marks = marks
        self._devices: dict[int, FollowedDevice] = {}
        self._own_flips: dict[str, list[bool]] = {}
        self._own_names: set[str] = set()
        self._flipped: dict[str, None] = {}
        self._uplinks: dict[str, None] = {}

    def start_from(self, messages: "Iterable[LinkMessage]") -> None:
        """Take *messages* as all devices that there are: at start, and after an overrun."""
        self._devices = {message["index"]: self._device(message) for message in messages}

    def expect_flip(self, dev: str, *, up: bool) -> None:
        """Take in that *dev* is about to go up or down by our own doing."""
        self._own_flips.setdefault(dev, []).append(up)
        self._own_names.add(dev)

    def put(self, fields: Mapping[str, Any]) -> tuple[FollowedDevice | None, FollowedDevice]:
        """Take in what a device has become; return what it was (None: new) and what it is.

        One that was renamed is gone under its old name, and new under the other.
        """
        index = fields["index"]
        before, after = self._devices.get(index), self._device(fields)
        self._devices[index] = after
        if before is not None and before.name != after.name:
            self._compare(before, None)
            self._compare(None, after)
        else:
            self._compare(before, after)
        return before, after

    def remove(self, index: int) -> FollowedDevice | None:
        """Take in that a device is gone; return what it was."""
        before = self._devices.pop(index, None)
        if before is not None:
            self._compare(before, None)
        return before

    def changed_uplink(self, dev: str) -> None:
        """Take in that something else changed on *dev*, which is not ours."""
        self._uplinks[dev] = None

    def get(self, index: int) -> FollowedDevice | None:
        """Return the device with *index*, if any notification spoke of it."""
        return self._devices.get(index)

    def name(self, index: int) -> str:
        """Return the name that *index* has at this moment, "" for none."""
        device = self._devices.get(index)
        return device.name if device is not None else self._name_of(index)

    def is_ours(self, device: FollowedDevice) -> bool:
        """Tell whether *device* bears our mark, or we know it."""
        return device.ours or link_key(device.name) in self._known

    def settle(self) -> None:
        """Drop what is no news: every notification of what we did has come."""
        # What bears our mark only later, or no more, was ours all the while.
        self._uplinks = {dev: None for dev in self._uplinks if dev not in self._own_names}
        self._own_flips, self._own_names = {}, set()

    @property
    def has_news(self) -> bool:
        """Tell whether `news` has something, once all is settled."""
        return bool(self._flipped or self._uplinks)

    def news(self) -> list[KernelEvent]:
        """Return what befell devices since the last call."""
        events: list[KernelEvent] = [DeviceChanged(dev) for dev in self._flipped]
        events += [UplinkChanged(dev) for dev in self._uplinks]
        self._flipped, self._uplinks = {}, {}
        return events

    def _compare(self, before: FollowedDevice | None, after: FollowedDevice | None) -> None:
        """Note what it means for what stands on a device that *before* became *after*."""
        device = after or before
        assert device is not None
        was_up, is_up = (before is not None and before.up), (after is not None and after.up)
        if was_up != is_up and not self._is_own_flip(device.name, up=is_up):
            self._flipped[device.name] = None
        if self.is_ours(device):
            self._own_names.add(device.name)
        elif before != after:
            self._uplinks[device.name] = None

    def _is_own_flip(self, dev: str, *, up: bool) -> bool:
        expected = self._own_flips.get(dev)
        if not expected or expected[0] != up:
            return False
        expected.pop(0)
        return True

    def _device(self, fields: Mapping[str, Any]) -> FollowedDevice:
        flags = fields["flags"]
        return FollowedDevice(
            name=fields["ifname"],
            up=bool(flags & IFF_UP),
            running=bool(flags & IFF_RUNNING),
            mtu=fields.get("mtu", 0),
            ours=fields.get("ifalias", "").startswith(self._marks.alias),
        )
