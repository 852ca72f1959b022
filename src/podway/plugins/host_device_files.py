"""Files in which a device's state on the host waits for its return: one of JSON per attachment.

In: a `HostState`. Out: ``<dataDir>/<hash of the network>-<hash of the attachment>``. Called by
`host_device`. Below /run by default, since a restart of the machine takes away what the file says.

The kernel keeps a device's alias wherever it goes, so the name is there, as the reference plugin
has it: either plugin can bring back what the other took. All else is in the file.

Who takes a device or brings it back holds the directory's lock: a container's ADD would otherwise
find the device that another one's DEL has on its way home, and note a host without its addresses.
"""

import posix
from fcntl import LOCK_EX, flock

from podway.cni.documents import decode, encode
from podway.cni.errors import CniError
from podway.cni.fields import Fields
from podway.cni.names import broken_ifname_rule
from podway.netlink.errors import EncodeError
from podway.netlink.text import format_address, pack_address
from podway.plugins.digests import sha512_hex
from podway.plugins.host_device_state import HostState
from podway.plugins.marks import attachment_mark
from podway.plugins.state_files import (
    make_directories,
    names_in,
    read_if_any,
    remove_if_any,
    write_whole,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final, Self

_NETWORK_DIGITS: "Final" = 16
_ATTACHMENT_DIGITS: "Final" = 24
# Of a file while it is being written; one that stays was left by a process that was killed.
_ASIDE: "Final" = ".new"
# Fields of messages that hold packed addresses.
_PACKED = ("address", "local", "broadcast", "dst", "src", "gateway", "prefsrc", "addr")


class Lock:
    """The directory, to one call alone while the block lasts.

    Args:
        directory: where the files are. While it is missing nothing is away, and nothing locked.
        may_make: make it then.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, directory: str, *, may_make: bool = False) -> None:
        self._directory = directory
        self._may_make = may_make
        self._descriptor = -1

    def __enter__(self) -> "Self":
        if self._may_make:
            make_directories(self._directory)
        try:
            flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
            self._descriptor = posix.open(self._directory, flags)
        except FileNotFoundError:
            return self
        flock(self._descriptor, LOCK_EX)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._descriptor >= 0:
            posix.close(self._descriptor)


def state_path(directory: str, network: str, container_id: str, ifname: str) -> str:
    """Return the path of the file of an attachment."""
    mark = attachment_mark(network, container_id, ifname)
    return f"{directory}/{_prefix(network)}{sha512_hex(mark)[:_ATTACHMENT_DIGITS]}"


def _prefix(network: str) -> str:
    return f"{sha512_hex(network)[:_NETWORK_DIGITS]}-"


def path_of(directory: str, state: HostState) -> str:
    """Return the path of the file of *state*."""
    return state_path(directory, state.network, state.container_id, state.ifname)


def write_state(directory: str, state: HostState) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path = path_of(directory, state)
    write_whole(path, path + _ASIDE, render_state(state).encode())


def read_state(path: str) -> HostState | None:
    """Return what a file says; None without a file, or if it says nothing sensible.

    Raises:
        OSError: it cannot be read.
    """
    data = read_if_any(path)
    if data is None:
        return None
    try:
        return parse_state(data)
    except (CniError, EncodeError, KeyError, TypeError, ValueError):
        return None


def remove_state(directory: str, state: HostState) -> None:
    """Remove the file; none is no error."""
    remove_file(path_of(directory, state))


def remove_file(path: str) -> None:
    """Remove the file of an attachment, and what a killed process left of it; none is no error."""
    for each in (path, path + _ASIDE):
        remove_if_any(each)


def state_paths(directory: str, network: str) -> list[str]:
    """Return the paths of the files of a network, be they whole or not."""
    prefix = _prefix(network)
    names = (name for name in names_in(directory) if name.startswith(prefix))
    found = {name.removesuffix(_ASIDE) for name in names}
    return [f"{directory}/{name}" for name in sorted(found)]


def render_state(state: HostState) -> str:
    """Return *state* as JSON."""
    return encode(
        {
            "network": state.network,
            "containerID": state.container_id,
            "ifname": state.ifname,
            "netns": state.netns,
            "netnsID": list(state.netns_id),
            "device": state.name,
            "alias": state.alias,
            "mac": state.mac,
            "permMAC": state.perm_mac,
            "kind": state.kind,
            "mtu": state.mtu_bytes,
            "up": state.is_up,
            "master": state.master,
            "addresses": [_as_text(each) for each in state.addresses],
            "routes": [_as_text(each) for each in state.routes],
        }
    )


def parse_state(data: bytes) -> HostState:
    """Return what `render_state` wrote.

    Raises:
        CniError, EncodeError, KeyError, TypeError, ValueError: *data* says something else.
    """
    document = decode(data, "state of a device")
    fields = Fields(document)
    device, inode = document["netnsID"]
    return HostState(
        network=fields.text("network"),
        container_id=fields.text("containerID"),
        ifname=fields.text("ifname"),
        netns=fields.text("netns"),
        netns_id=(int(device), int(inode)),
        name=_device_name(document["device"]),
        alias=fields.text("alias"),
        mac=fields.text("mac"),
        perm_mac=fields.text("permMAC"),
        kind=fields.text("kind"),
        mtu_bytes=fields.integer("mtu") or 0,
        is_up=fields.boolean("up"),
        master=fields.text("master"),
        addresses=tuple(_as_message(each) for each in document["addresses"]),
        routes=tuple(_as_message(each) for each in document["routes"]),
    )


def _device_name(value: "Any") -> str:
    if not isinstance(value, str) or broken_ifname_rule(value):
        raise ValueError(f"{value!r} is no name of a device")
    return value


def _as_text(value: "Any") -> "Any":
    """Return a message with addresses as people write them."""
    if isinstance(value, bytes):
        return format_address(value)
    if isinstance(value, dict):
        return {key: _as_text(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(each) for each in value]
    return value


def _as_message(value: "Mapping[str, Any]") -> "Any":
    """Return the message that `_as_text` wrote."""
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no message")
    message: dict[str, Any] = {}
    for key, each in value.items():
        if key in _PACKED:
            message[key] = pack_address(each)
        elif isinstance(each, dict):
            message[key] = _as_message(each)
        elif isinstance(each, list):
            message[key] = [_as_message(inner) for inner in each]
        else:
            message[key] = each
    return message
