"""Plugins whose attachment is one interface in the container: dummy, tap, and `children`.

In: a call, and a function that makes the interface. Out: the result; or for DEL, CHECK and GC the
same things undone, seen, collected. What differs between those plugins is how the interface is
made and what of it CHECK looks at: that stands in their modules.

Order of an ADD: interface, addresses by IPAM, configuration, as the reference plugins. Whatever
fails undoes what was done before. DEL takes the interface first, so that no address is free while
somebody has it. Nothing of these attachments is outside the container but what IPAM keeps: GC has
no more to do than to pass on.
"""

from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, CniError
from podway.cni.results import Interface, Result
from podway.cni.values import Value, replace
from podway.netlink.netns import entered
from podway.netlink.socket import NetlinkSocket
from podway.plugins.container_links import check_kind, remove_link
from podway.plugins.delegation import (
    assign_addresses,
    ipam_type,
    pass_to_ipam,
    release_from_interface,
)
from podway.plugins.interfaces import (
    compute_interface_plan,
    configure_interface,
    required_link,
)
from podway.plugins.previous import container_interface, required_previous_result
from podway.plugins.sysctls import write_sysctl_if_any
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from podway.cni.results import Dns
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.skeleton import Call


class Shape(Value):
    """What the interface of an attachment is.

    Attributes:
        kind: of device (``macvlan``).
        data: parameters of that kind that CHECK compares.
        mtu_bytes: as configured, 0 for whatever the kernel chose.
        notify: kernel parameters to be set to 1, with {} for the interface.
    """

    kind: str
    data: "Mapping[str, Any]"
    mtu_bytes: int
    notify: tuple[str, ...] = ()


def add_interface(
    call: "Call",
    shape: Shape,
    make: "Callable[[], LinkMessage]",
    *,
    dns: "Dns | None",
    given: Result | None = None,
) -> Result:
    """Make the container's interface, give it its addresses, and return the result.

    Args:
        call: an ADD.
        shape: what *make* makes.
        make: makes the interface.
        dns: of the result; None for what IPAM says.
        given: addresses and routes where there is no IPAM; None for none.

    Raises:
        CniError: IPAM fails or gives no address; nothing is left.
        NetlinkError: the kernel refuses; nothing is left.
    """
    ipam = ipam_type(call)
    with Undo() as undo:
        link = make()
        undo.push(remove_link, call, shape.kind)
        assigned = assign_addresses(call, ipam, undo) if ipam else given or Result()
        result = compute_result(call, link, assigned, dns)
        with entered(call.namespace), NetlinkSocket() as inside:
            if result.ips:
                _notify(call.request.ifname, shape.notify)
            plan = compute_interface_plan(result, 0)
            configure_interface(inside, link["index"], call.request.ifname, plan)
    return result


def compute_result(
    call: "Call", link: "LinkMessage", assigned: Result, dns: "Dns | None"
) -> Result:
    """Return the result of an attachment whose only interface is *link*."""
    interface = Interface(
        name=link["ifname"], mac=link["address"], mtu=link["mtu"], sandbox=call.request.netns
    )
    return Result(
        interfaces=(interface,),
        ips=tuple(replace(ip, interface=0) for ip in assigned.ips),
        routes=assigned.routes,
        dns=assigned.dns if dns is None else dns,
    )


def delete_interface(call: "Call", kind: str) -> None:
    """Remove the container's interface and give its addresses back.

    Raises:
        CniError, NetlinkError: something else than that they are gone.
    """
    release_from_interface(call)
    remove_link(call, kind)
    pass_to_ipam(call)


def required_ipam(call: "Call") -> str:
    """Return the name of the configuration's IPAM plugin.

    Raises:
        CniError: INVALID_CONFIG, there is none.
    """
    ipam = ipam_type(call)
    if not ipam:
        raise CniError(
            INVALID_CONFIG, f"ipam.type is missing: {call.config.type} needs an IPAM plugin"
        )
    return ipam


def check_shape(call: "Call", shape: Shape) -> "LinkMessage":
    """See that the interface is as ADD made it, that it has its addresses and routes; return it.

    Raises:
        CniError: CHECK_FAILED, something is missing or differs; INVALID_CONFIG, there is no
            prevResult that says what to look for; or as IPAM says.
    """
    from podway.plugins.interface_checks import check_interface  # noqa: PLC0415 - only here

    result = required_previous_result(call.request)
    position = container_interface(result, call.request)
    pass_to_ipam(call)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        link = required_link(inside, call.request.ifname, call.request.netns)
        check_kind(link, shape.kind, shape.data)
        check_told(link, result.interfaces[position], shape.mtu_bytes)
        check_interface(inside, link, compute_interface_plan(result, position))
    return link


def check_told(link: "LinkMessage", told: Interface, mtu_bytes: int = 0) -> None:
    """See that a device has the MAC address and the size that the result tells.

    Args:
        link: the device.
        told: the interface in the result; what it does not tell is not compared.
        mtu_bytes: size where the result tells none, as before 1.0.0; 0 for any.

    Raises:
        CniError: CHECK_FAILED.
    """
    name, mac = link["ifname"], link.get("address", "")
    if told.mac and told.mac.lower() != mac:
        raise CniError(CHECK_FAILED, f"interface {name} has MAC address {mac}, must be {told.mac}")
    wanted_bytes = told.mtu or mtu_bytes
    if wanted_bytes and link["mtu"] != wanted_bytes:
        raise CniError(
            CHECK_FAILED, f"interface {name} has mtu {link['mtu']}, must be {wanted_bytes}"
        )


def _notify(ifname: str, paths: tuple[str, ...]) -> None:
    """Set kernel parameters of the thread's namespace to 1, those that this kernel has."""
    for path in paths:
        write_sysctl_if_any(path.format(ifname), "1")
