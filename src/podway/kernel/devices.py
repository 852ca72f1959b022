"""Devices of one namespace by index and by name: what routes and neighbours are written with.

The kernel speaks in indexes, podway in names. Indexes are never reused quickly and names may be
reused at once, so the table is kept current from link notifications, and asked of the kernel where
a name is unknown.
"""

from podway.model.kernel import ALIAS_PREFIX
from podway.netlink import NetlinkError, NetlinkSocket, get_link
from podway.netlink.constants import IFF_UP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.links import LinkMessage


class Devices:
    """Names, indexes and states of the namespace's devices.

    Args:
        netlink: socket to ask with; shared with its owner, used from one thread.
    """

    def __init__(self, netlink: NetlinkSocket) -> None:
        self._netlink = netlink
        self._names: dict[int, str] = {}
        self._indexes: dict[str, int] = {}
        self._up: dict[int, bool] = {}
        self._ours: set[int] = set()
        self._modes: dict[int, int] = {}

    def learn(self, message: "LinkMessage") -> bool:
        """Take in a device as the kernel describes it; tell whether it went up or down by this."""
        index, name = message["index"], message["ifname"]
        old = self._names.get(index)
        if old is not None and old != name and self._indexes.get(old) == index:
            del self._indexes[old]
        self._names[index], self._indexes[name] = name, index
        if message.get("ifalias", "").startswith(ALIAS_PREFIX):
            self._ours.add(index)
        mode = message.get("linkinfo", {}).get("slave_data", {}).get("mode")
        if mode is not None:
            self._modes[index] = mode
        up = bool(message["flags"] & IFF_UP)
        before = self._up.get(index)
        self._up[index] = up
        return before is not None and before != up

    def forget(self, index: int) -> None:
        """Take in that a device is gone."""
        name = self._names.pop(index, "")
        if self._indexes.get(name) == index:
            del self._indexes[name]
        self._up.pop(index, None)
        self._modes.pop(index, None)
        self._ours.discard(index)

    def port_changed(self, index: int, mode: int | None) -> str:
        """Take in how a bridge treats its port; return the port's name if that is news, else ""."""
        known = self._modes.get(index)
        if mode is None or known is None or known == mode:
            return ""
        self._modes[index] = mode
        return self._names.get(index, "")

    def own(self, index: int) -> None:
        """Take in that a device is ours, whatever its alias."""
        self._ours.add(index)

    def is_ours(self, index: int) -> bool:
        """Tell whether the device with *index* is podway's."""
        return index in self._ours

    def name(self, index: int) -> str:
        """Return the name of the device with *index*; "" when there is none."""
        if index not in self._names:
            self._ask({"index": index})
        return self._names.get(index, "")

    def index(self, name: str) -> int:
        """Return the index of the device called *name*; 0 when there is none."""
        if name not in self._indexes:
            self._ask({"ifname": name})
        return self._indexes.get(name, 0)

    def _ask(self, question: "LinkMessage") -> None:
        try:
            message = self._netlink.request(get_link(question))
        except NetlinkError as error:
            if not error.is_not_found:
                raise
        else:
            if message is not None:
                self.learn(message)
