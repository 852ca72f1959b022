"""Puts an instance's own names and marks on what was computed. Pure.

In: kernel objects as every pure function here computes them, with the names and marks of the agent
that is alone on its machine. Out: the same for one instance. So a backend speaks of ``podway.1``
and nothing else, and stays readable::

    podway.1        flannel.1  blue.1          podway0     flannel0  blue0
    podway-v6.1     flannel-v6.1  blue-v6.1    podway.ipip, podway-wg, podway-wg-v6 likewise
    cni0            cni0       cni-blue        inet podway           inet podway-blue
    protocol 112    112        113..176        alias podway:vtep     podway@blue:vtep
"""

from collections.abc import Iterable

from msgspec.structs import replace

from podway.model.instances import (
    BRIDGE_NAME,
    DEFAULT_INSTANCE,
    PREFIX,
    TABLE_NAME,
    Instance,
    Marks,
)
from podway.model.kernel import (
    ALIAS_PREFIX,
    ROUTE_PROTOCOL,
    KernelObject,
    Link,
    NftTable,
    Route,
    Rule,
    Sysctl,
)

_IFNAMSIZ = 15
# What podway.compute.backends.vxlan calls an IPv6 VTEP whose VNI leaves no room.
_SHORT_V6 = "pw6."


def dress(items: Iterable[KernelObject], instance: Instance) -> tuple[KernelObject, ...]:
    """Return *items* with the names and marks of *instance*."""
    if instance == DEFAULT_INSTANCE:
        return tuple(items)
    return tuple(_dressed(item, instance) for item in items)


def dressed_name(dev: str, instance: Instance) -> str:
    """Return what *instance* calls the device that pure functions call *dev*."""
    prefix = instance.prefix
    if dev == BRIDGE_NAME:
        return instance.bridge
    if dev.startswith(_SHORT_V6):
        return _vtep_v6(prefix, dev.removeprefix(_SHORT_V6))
    if dev.startswith(f"{PREFIX}-v6."):
        return _vtep_v6(prefix, dev.removeprefix(f"{PREFIX}-v6."))
    if dev.startswith((f"{PREFIX}.", f"{PREFIX}-")) or dev == f"{PREFIX}0":
        rest = dev.removeprefix(PREFIX)
        return f"{prefix[: _IFNAMSIZ - len(rest)]}{rest}"
    return dev


def _vtep_v6(prefix: str, vni: str) -> str:
    """Return the name of an IPv6 VTEP, cut where a long VNI leaves no room."""
    name = f"{prefix}-v6.{vni}"
    if len(name) <= _IFNAMSIZ:
        return name
    return f"{_SHORT_V6}{vni}" if prefix == PREFIX else f"{prefix[:5]}6.{vni}"


def _dressed(item: KernelObject, instance: Instance) -> KernelObject:
    marks = instance.marks
    match item:
        case Link():
            return replace(
                item,
                name=dressed_name(item.name, instance),
                master=dressed_name(item.master, instance),
                alias=f"{marks.alias}{item.alias.removeprefix(ALIAS_PREFIX)}",
            )
        case Route():
            hops = tuple(replace(hop, dev=dressed_name(hop.dev, instance)) for hop in item.nexthops)
            dev = dressed_name(item.dev, instance)
            return replace(item, dev=dev, nexthops=hops, protocol=_protocol(item.protocol, marks))
        case Rule():
            return replace(item, protocol=_protocol(item.protocol, marks))
        case NftTable(name=name):
            return replace(item, name=marks.table) if name == TABLE_NAME else item
        case Sysctl():
            return _dressed_sysctl(item, instance)
        case _:
            return replace(item, dev=dressed_name(item.dev, instance))


def _dressed_sysctl(item: Sysctl, instance: Instance) -> Sysctl:
    if not item.dev:
        return item
    name = dressed_name(item.dev, instance)
    parts = [name if part == item.dev else part for part in item.path.split("/")]
    return Sysctl("/".join(parts), item.value, name)


def _protocol(number: int, marks: Marks) -> int:
    return marks.protocol if number == ROUTE_PROTOCOL else number
