"""What the host loses when a device leaves it: pure.

In: the device, its addresses and routes, as the kernel tells them. Out: a `HostState`, from which
all of that can be given back. Addresses and routes that somebody learnt (DHCP, router
advertisements) are left out: whoever learnt them will learn them again.
"""

from podway.cni.values import Value
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_F_PERMANENT,
    IFAPROT_KERNEL_LL,
    IFF_UP,
    RT_TABLE_LOCAL,
    RTNH_F_ONLINK,
    RTPROT_DHCP,
    RTPROT_KERNEL,
    RTPROT_RA,
    RTPROT_REDIRECT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podway.cni.requests import Request
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.route_messages import RouteMessage

# include/uapi/linux/if_addr.h: what somebody asked for, as against what the kernel found out.
_IFA_F_MANAGETEMPADDR = 0x100
_IFA_F_MCAUTOJOIN = 0x400
_ASKED_FLAGS = IFA_F_NODAD | IFA_F_NOPREFIXROUTE | _IFA_F_MANAGETEMPADDR | _IFA_F_MCAUTOJOIN
_ADDRESS_KEYS = (
    "family", "prefixlen", "scope", "address", "local", "label", "broadcast", "rt_priority",
    "proto",
)  # fmt: skip
_ROUTE_KEYS = (
    "family", "dst_len", "src_len", "tos", "table", "protocol", "scope", "type", "dst", "src",
    "gateway", "via", "priority", "prefsrc", "metrics", "pref",
)  # fmt: skip
_LEARNT = (RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA, RTPROT_DHCP)


class HostState(Value):
    """A device as it was on the host.

    Attributes:
        network: whose attachment it left for,
        container_id: likewise,
        ifname: and under which name.
        netns: path of the container's namespace.
        netns_id: st_dev and st_ino of it: paths are used again.
        name: of the device on the host.
        alias: it had there.
        mac: MAC address.
        perm_mac: address of the hardware itself, "" where it has none.
        kind: of device, "" for hardware: the kernel gives hardware back when a namespace ends.
        mtu_bytes: size.
        is_up: it was up.
        master: name of the device whose port it was, "" for none.
        addresses: without ``index``.
        routes: without ``oif``; in ``multipath`` its own ways have ``ifindex`` 0.
    """

    network: str
    container_id: str
    ifname: str
    netns: str
    netns_id: tuple[int, int]
    name: str
    alias: str = ""
    mac: str = ""
    perm_mac: str = ""
    kind: str = ""
    mtu_bytes: int = 0
    is_up: bool = False
    master: str = ""
    addresses: "tuple[AddressMessage, ...]" = ()
    routes: "tuple[RouteMessage, ...]" = ()


def compute_state(  # noqa: PLR0917 - six things make a state
    request: "Request",
    netns_id: tuple[int, int],
    link: "LinkMessage",
    master: str,
    addresses: "Iterable[AddressMessage]",
    routes: "Iterable[RouteMessage]",
) -> HostState:
    """Return what is to be kept of *link*."""
    index = link["index"]
    kept_routes = (_kept_route(route, index) for route in routes)
    return HostState(
        network=request.config.name,
        container_id=request.container_id,
        ifname=request.ifname,
        netns=request.netns,
        netns_id=netns_id,
        name=link["ifname"],
        alias=link.get("ifalias", ""),
        mac=link.get("address", ""),
        perm_mac=link.get("perm_address", ""),
        kind=link.get("linkinfo", {}).get("kind", ""),
        mtu_bytes=link["mtu"],
        is_up=bool(link["flags"] & IFF_UP),
        master=master,
        addresses=tuple(_kept_address(each) for each in addresses if _is_given(each)),
        routes=tuple(route for route in kept_routes if route is not None),
    )


def _is_given(address: "AddressMessage") -> bool:
    """Tell whether somebody gave a device this address for good."""
    is_permanent = bool(address["flags"] & IFA_F_PERMANENT)
    return is_permanent and address.get("proto") != IFAPROT_KERNEL_LL


def _kept_address(address: "AddressMessage") -> "AddressMessage":
    kept: AddressMessage = {key: address[key] for key in _ADDRESS_KEYS if key in address}  # type: ignore[assignment,literal-required]
    return {**kept, "flags": address["flags"] & _ASKED_FLAGS}


def _kept_route(route: "RouteMessage", index: int) -> "RouteMessage | None":
    """Return what is to be written again; None for what comes by itself."""
    if route["family"] not in {AF_INET, AF_INET6} or route["protocol"] in _LEARNT:
        return None
    if route["table"] == RT_TABLE_LOCAL or "encap_type" in route:
        return None
    kept: RouteMessage = {key: route[key] for key in _ROUTE_KEYS if key in route}  # type: ignore[assignment,literal-required]
    kept["flags"] = route["flags"] & RTNH_F_ONLINK
    if "multipath" in route:
        hops = [
            {**hop, "ifindex": 0 if hop["ifindex"] == index else hop["ifindex"],
             "flags": hop["flags"] & RTNH_F_ONLINK}
            for hop in route["multipath"]
        ]  # fmt: skip
        # IPv6 keeps the ways by other devices as they are.
        is_four = route["family"] == AF_INET
        kept["multipath"] = [hop for hop in hops if is_four or not hop["ifindex"]]  # type: ignore[misc]
    return kept
