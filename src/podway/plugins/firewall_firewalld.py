"""The ``firewall`` plugin by firewalld: the container's addresses are sources of a zone.

In: addresses, a zone. Out: firewalld has them, or not any more. Called by `firewall_add` and its
siblings. What firewalld is told lasts until it is started anew or reloaded, as with the reference
plugin.
"""

from podway.cni.errors import CHECK_FAILED, IO_FAILURE, CniError
from podway.plugins.dbus import DbusError, SystemBus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from podway.plugins.dbus import Value

_NAME: "Final" = "org.fedoraproject.FirewallD1"
_ZONES: "Final" = (_NAME, "/org/fedoraproject/FirewallD1", f"{_NAME}.zone")
# firewalld has one name for all its errors; the word before the colon tells them apart.
_THERE: "Final" = "ZONE_ALREADY_SET"
_GONE: "Final" = ("UNKNOWN_SOURCE", "INVALID_ZONE")


def is_running() -> bool:
    """Tell whether firewalld is on the system bus; no bus is none."""
    try:
        with SystemBus() as bus:
            return bus.has_owner(_NAME)
    except (OSError, DbusError):
        return False


def add(zone: str, addresses: "Iterable[str]") -> None:
    """Let *addresses* be sources of *zone*.

    Raises:
        CniError: IO_FAILURE, firewalld refuses or is away.
    """
    _call_all("addSource", zone, addresses, (_THERE,))


def delete(zone: str, addresses: "Iterable[str]") -> None:
    """Let *addresses* be no sources of *zone*; those that are none are no error.

    Raises:
        CniError: IO_FAILURE, firewalld refuses.
    """
    # What does not run has forgotten them.
    if is_running():
        _call_all("removeSource", zone, addresses, _GONE)


def check(zone: str, addresses: "Iterable[str]") -> None:
    """See that *addresses* are sources of *zone*.

    Raises:
        CniError: CHECK_FAILED; IO_FAILURE, firewalld refuses or is away.
    """
    for source, answer in _call_all("querySource", zone, addresses, ()):
        if not answer:
            raise CniError(CHECK_FAILED, f"firewalld: {source} is no source of zone {zone}")


def _call_all(
    method: str, zone: str, addresses: "Iterable[str]", passed: "tuple[str, ...]"
) -> "list[tuple[str, Value]]":
    """Call a method for each address; errors that begin with one of *passed* are none."""
    answers: list[tuple[str, Value]] = []
    try:
        with SystemBus() as bus:
            for address in addresses:
                source = f"{address}/{128 if ':' in address else 32}"
                try:
                    answers.append((source, bus.call(*_ZONES, method, zone, source)))
                except DbusError as error:
                    if error.text.partition(":")[0] not in passed:
                        raise
    except (OSError, DbusError) as error:
        raise CniError(IO_FAILURE, f"firewalld: {method} in zone {zone}: {error}") from error
    return answers
