"""Children: devices that are part of another one, their master. macvlan, ipvlan and vlan make them.

In: a `Child`, read from a configuration. Out: the device in the container's namespace, checked, and
whether one could be had. What differs between those plugins is what they read, and the parameters
of their kind: `child_plugin` makes a plugin of that.

Why it is hard: a child is made out of its master, which is in the host's namespace, for a name in
the container's. Kernels before 6.15 look for that name in the namespace of the socket as well
(rtnl_newlink), so that a host with an ``eth0`` of its own could give no container one. The
reference plugins make every device under a random name and rename it. Here that is what happens
only where the plain way is refused; NLM_F_EXCL keeps the host's device from being changed instead.
"""

from podway.cni.errors import CHECK_FAILED, CniError, broken_rule
from podway.cni.values import Value
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, create_link, delete_link
from podway.netlink.socket import NetlinkSocket
from podway.plugins.availability import check_device_kind, check_step
from podway.plugins.container_links import (
    check_kind,
    link_kind,
    make_link,
    read_link,
    refuse_taken_name,
)
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.dns import configured_dns
from podway.plugins.interfaces import find_link
from podway.plugins.macs import random_veth_name
from podway.plugins.masters import find_master
from podway.plugins.single_interface import Shape, add_interface, check_shape, delete_interface
from podway.plugins.skeleton import Call, CniPlugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from podway.cni.results import Result
    from podway.netlink.link_messages import LinkMessage


class Child(Value):
    """A device that is part of another one.

    Attributes:
        kind: of device (``macvlan``).
        master: the other device, "" for the one of the default route.
        link_in_container: the master is in the container's namespace, not in the host's.
        mtu_bytes: 0 for the master's.
        data: parameters of that kind.
        data_if_told: more of them, which older kernels do not tell: CHECK passes over them there.
        mac: "" for whatever the kernel chooses.
        notify: kernel parameters to be set to 1, with {} for the interface.
    """

    kind: str
    master: str
    link_in_container: bool
    mtu_bytes: int
    data: "Mapping[str, int]"
    data_if_told: "Mapping[str, int]" = {}  # noqa: RUF012 - a field
    mac: str = ""
    notify: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """The interface as CHECK sees it."""
        return Shape(kind=self.kind, data=self.data, mtu_bytes=self.mtu_bytes, notify=self.notify)


def child_plugin(
    kind: str,
    about: str,
    parse: "Callable[[Call], Child]",
    *,
    add: "Callable[[Call], Result] | None" = None,
    status: "Callable[[Call], None] | None" = None,
) -> CniPlugin:
    """Return the plugin that attaches containers by a device of *kind*.

    Args:
        kind: of device, and the plugin's name.
        about: as `CniPlugin` has it.
        parse: returns the device that a configuration asks for.
        add: in place of an ADD that needs no more than that; so a container can do without IPAM.
        status: in place of a STATUS that needs no more.
    """
    return CniPlugin(
        name=kind,
        about=about,
        add=add or (lambda call: add_child(call, parse(call))),
        delete=lambda call: delete_interface(call, kind),
        check=lambda call: check_child(call, parse(call)),
        gc=pass_to_ipam,
        status=status or (lambda call: check_child_available(call, parse(call))),
    )


def add_child(call: Call, child: Child, given: "Result | None" = None) -> "Result":
    """Make the device, give it its addresses, and return the result, with the configured DNS.

    Args:
        call: an ADD.
        child: what to make.
        given: addresses and routes where there is no IPAM; None for none.

    Raises:
        CniError: there is no such master, its name is taken, IPAM fails; nothing is left.
        NetlinkError: the kernel refuses; nothing is left.
    """
    dns = configured_dns(call.config)
    return add_interface(call, child.shape, lambda: _make(call, child), dns=dns, given=given)


def check_child(call: Call, child: Child) -> None:
    """See that the device is as ADD made it, and part of its master.

    Raises:
        CniError: CHECK_FAILED, it is not; or as `check_shape` raises.
    """
    link = check_shape(call, child.shape)
    told = link["linkinfo"]["data"]
    wanted = {key: value for key, value in child.data_if_told.items() if key in told}
    check_kind(link, child.kind, wanted)
    if child.master:  # the default route may have changed since
        _check_master(call, link, child)


def check_child_available(call: Call, child: Child, *, knows_master: bool = True) -> None:
    """See that the kernel has such devices, that there is a master, and that IPAM is well.

    Args:
        call: a STATUS.
        child: what would be made.
        knows_master: *child* says which it is, be it the one of the default route.

    Raises:
        CniError: UNAVAILABLE, there is none; or as IPAM says.
    """
    check_device_kind(child.kind)
    # One in a container is not known before an ADD.
    if knows_master and not child.link_in_container:
        with NetlinkSocket() as outside:
            check_step(find_master, outside, child.master)
    pass_to_ipam(call)


def compute_link(child: Child, master: "LinkMessage") -> "LinkMessage":
    """Return the device to be made out of *master*, without name and namespace.

    Raises:
        CniError: INVALID_CONFIG, the master cannot carry packets of that size.
    """
    if child.mtu_bytes > master["mtu"]:
        rule = f"must be at most that of master {master['ifname']}, {master['mtu']} bytes"
        raise broken_rule("mtu", child.mtu_bytes, rule)
    message: LinkMessage = {
        "link": master["index"],
        "linkinfo": {"kind": child.kind, "data": {**child.data, **child.data_if_told}},
    }
    if child.mtu_bytes:
        message["mtu"] = child.mtu_bytes
    if child.mac:
        message["address"] = child.mac
    return message


def _make(call: Call, child: Child) -> "LinkMessage":
    """Make the device in the container's namespace, called as the call says; return it."""
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        if child.link_in_container:
            master = find_master(inside, child.master, in_container=True)
            return make_link(call, inside, compute_link(child, master))
        with NetlinkSocket() as outside:
            message = compute_link(child, find_master(outside, child.master))
            return _make_across(call, inside, outside, message)


def _make_across(
    call: Call, inside: NetlinkSocket, outside: NetlinkSocket, message: "LinkMessage"
) -> "LinkMessage":
    """Make a device in the container's namespace from a master in the host's."""
    message = {**message, "net_ns_fd": call.namespace}
    ifname = call.request.ifname
    try:
        outside.request(create_link({**message, "ifname": ifname}))
    except NetlinkError as error:
        if not error.is_exists:
            raise
        refuse_taken_name(call, inside)
        return _make_renamed(inside, outside, message, ifname)
    return read_link(inside, ifname)


def _make_renamed(
    inside: NetlinkSocket, outside: NetlinkSocket, message: "LinkMessage", ifname: str
) -> "LinkMessage":
    """Make a device under a random name and rename it: the host has one of its final name.

    Or something else exists already (the VLAN of this number): then this is refused as well.
    """
    temporary = random_veth_name()
    outside.request(create_link({**message, "ifname": temporary}))
    index = read_link(inside, temporary)["index"]
    try:
        inside.request(change_link({"index": index, "ifname": ifname}))
    except NetlinkError:
        inside.request(delete_link({"index": index}))
        raise
    return read_link(inside, ifname)


def _check_master(call: Call, link: "LinkMessage", child: Child) -> None:
    """See that a device is part of the master that the configuration names.

    A macvlan on a macvlan, and an ipvlan on an ipvlan, are part of what that one is part of.

    Raises:
        CniError: CHECK_FAILED, the master is gone, or the device is part of another one.
    """
    with NetlinkSocket(netns_fd=call.namespace if child.link_in_container else None) as netlink:
        device = find_link(netlink, child.master)
    if device is None or link.get("link", 0) not in _lower_devices(device, child.kind):
        raise CniError(CHECK_FAILED, f"interface {link['ifname']} is not part of {child.master}")


def _lower_devices(master: "LinkMessage", kind: str) -> tuple[int, ...]:
    """Return what the kernel may have taken for *master* in making a device of *kind*."""
    own = master["index"]
    return (own, master["link"]) if link_kind(master) == kind and "link" in master else (own,)
