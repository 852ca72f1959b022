"""Calls of other plugins: IPAM by a main plugin, a main plugin by a meta plugin.

In: a call and the name of another plugin's executable. Out: what it answers. SPEC 1.1.0, "Section
4: Plugin Delegation": it gets the same environment and the complete configuration. CNI_PATH
decides which executable that is. If it is one of podway's own, it is called in this process, which
saves a start (7 ms); any other is executed.
"""

import posix
from sys import modules

from podway.cni.documents import encode
from podway.cni.errors import INTERNAL, INVALID_CONFIG, CniError, broken_rule
from podway.cni.fields import Fields
from podway.cni.requests import parse_config
from podway.cni.results import Result
from podway.cni.values import replace
from podway.plugins.skeleton import Call, CniPlugin, as_cni_error, dispatch, with_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from podway.plugins.undo import Undo

# The second line of what `podway.plugins.executables` writes.
_SIGNATURE = "# CNI plugin {name} of podway "
_HEAD_BYTES = 512
_IPAM_TYPE = "ipam.type"


def ipam_type(call: Call) -> str:
    """Return the name of the configuration's IPAM plugin, "" for none.

    Raises:
        CniError: INVALID_CONFIG.
    """
    name = Fields(call.config.raw, code=INVALID_CONFIG).fields("ipam").text("type")
    return check_type(name, _IPAM_TYPE) if name else ""


def check_type(name: str, field: str) -> str:
    """Return *name* if it is the name of an executable: it becomes part of a path.

    Raises:
        CniError: INVALID_CONFIG.
    """
    if not name or "/" in name or "\0" in name or name in {".", ".."}:
        raise broken_rule(field, name, "must be a file name: the plugin's executable")
    return name


def with_config(call: Call, document: "Mapping[str, Any]") -> Call:
    """Return *call* with another configuration, for a plugin that is delegated to.

    Raises:
        CniError: the configuration breaks a rule of the protocol.
    """
    stdin = encode(document).encode()
    config = parse_config(document, call.request.command, (call.config.cni_version,))
    return replace(call, stdin=stdin, request=replace(call.request, config=config))


def delegate_add(call: Call, name: str, key: str = _IPAM_TYPE) -> Result:
    """Return the result of the ADD of plugin *name*; should it fail, its DEL has been called.

    Args:
        call: what to pass on.
        name: of the plugin.
        key: of the configuration that says so, for messages.

    Raises:
        CniError: as the plugin says, or INVALID_CONFIG, there is no such plugin.
    """
    plugin = _find_plugin(call, name, key)
    try:
        return _required(plugin(call), name)
    except Exception as error:
        _undo_add(call, name, error)
        raise


def delegate(call: Call, name: str, key: str = _IPAM_TYPE) -> None:
    """Pass a DEL, CHECK, GC or STATUS on to plugin *name*, which *key* says.

    Raises:
        CniError: as `delegate_add`.
    """
    _find_plugin(call, name, key)(call)


def delegate_delete(call: Call, name: str) -> None:
    """Call the DEL of plugin *name*, whatever command *call* has: to undo an ADD, or for a DEL.

    Raises:
        CniError: as `delegate_add`.
    """
    delegate(with_command(call, "DEL"), name)


def _required(result: Result | None, name: str) -> Result:
    if result is None:
        raise CniError(INTERNAL, f"plugin {name} returned no result")
    return result


def assign_addresses(call: Call, name: str, undo: "Undo") -> Result:
    """Return what IPAM plugin *name* assigns; *undo* gives it back.

    Raises:
        CniError: as the plugin says; or INTERNAL, it assigns no address.
    """
    assigned = delegate_add(call, name)
    undo.push(delegate_delete, call, name)
    if not assigned.ips:
        raise CniError(INTERNAL, f"IPAM plugin {name} returned no address")
    return assigned


def pass_to_ipam(call: Call) -> None:
    """Pass a DEL, CHECK, GC or STATUS on to the IPAM plugin, if the configuration has one.

    Raises:
        CniError: as the plugin says.
    """
    name = ipam_type(call)
    if name:
        delegate(call, name)


def release_from_interface(call: Call) -> None:
    """Let IPAM that speaks over the container's interface say good-bye, before that is removed.

    Only ``dhcp`` does. Main plugins call it first in DEL, and IPAM's DEL in its usual place all the
    same: that reports what fails here, and finds nothing left to do if nothing failed.
    """
    try:
        if ipam_type(call) == "dhcp":
            delegate(call, "dhcp")
    except CniError:
        # IPAM's DEL, later in the same call, fails in the same way and is heard.
        return


def _undo_add(call: Call, name: str, error: Exception) -> None:
    """Call DEL after a failed ADD, as the specification asks."""
    try:
        delegate_delete(call, name)
    except Exception as failure:  # noqa: BLE001 - the first error is the one to report
        error.add_note(f"and its DEL failed: {failure}")


def find_own_plugin(call: Call, name: str) -> CniPlugin | None:
    """Return plugin *name*, loaded, if it is podway's that CNI_PATH leads to; else None."""
    path = _find(call, name)
    return _own_plugin(name) if path is None or _is_ours(path, name) else None


def _find_plugin(call: Call, name: str, key: str) -> "Callable[[Call], Result | None]":
    """Return what answers a call as plugin *name*."""
    own = find_own_plugin(call, name)
    if own is not None:
        return lambda each: _call_here(own, each)
    path = _find(call, name)
    if path is None:
        rule = "must be an executable in CNI_PATH, or one of podway's own"
        raise broken_rule(key, name, f"{rule} (CNI_PATH = {call.request.path!r})")
    from podway.plugins.foreign_plugins import execute  # noqa: PLC0415 - podway's own are called

    return lambda each: execute(each, name, path)


def _call_here(plugin: CniPlugin, call: Call) -> Result | None:
    try:
        return dispatch(plugin, call)
    except Exception as error:
        raise as_cni_error(plugin.name, error) from error


def _find(call: Call, name: str) -> str | None:
    """Return the executable that CNI_PATH has under *name*."""
    for directory in call.request.path.split(":"):
        path = f"{directory}/{name}"
        if directory and posix.access(path, posix.X_OK):
            return path
    return None


def _is_ours(path: str, name: str) -> bool:
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        head = posix.read(descriptor, _HEAD_BYTES)
    finally:
        posix.close(descriptor)
    return _SIGNATURE.format(name=name).encode() in head


def _own_plugin(name: str) -> CniPlugin | None:
    """Return podway's plugin *name* if it can be called in this process.

    The registry would say the same (a test compares), and take 0.1 ms to load.
    """
    module = f"podway.plugins.{name.replace('-', '_')}"
    try:
        __import__(module)
    except ModuleNotFoundError:
        return None
    found: CniPlugin | None = getattr(modules[module], "PLUGIN", None)
    # A module's name has underscores, an executable's may not.
    return found if found is not None and found.name == name else None
