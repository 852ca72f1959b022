"""What the kernel will not have beside what is there already, one function for each kind. Pure.

In: an object that shall be written, and what there is. Out: nothing, or `Refused` with the kernel's
errno. Called by `fake_stack` before it writes.
"""

import errno as errnos

from podway.kernel.fake_objects import FakeObjects
from podway.kernel.fake_rules import check_name, is_same_tunnel, kind_word
from podway.kernel.fake_sysctls import Refused
from podway.model.addresses import Family, family_of
from podway.model.kernel import Address, Bridge, FdbEntry, Link, Neighbour, NextHop, Route, Vxlan

_MTU_MIN = 68
_MTU_MAX = 65535


def check_link(there: FakeObjects, wanted: Link) -> None:
    """Refuse a device that cannot be made, or be made of the one that has its name."""
    check_name(wanted.name)
    before = there.objects.get(wanted.key)
    if isinstance(before, Link):
        _check_same_kind(wanted, before)
    else:
        _check_new_kind(there, wanted)
    _check_settings(there, wanted)


def _check_same_kind(wanted: Link, before: Link) -> None:
    if type(wanted.kind) is not type(before.kind):
        raise Refused(errnos.EEXIST, f"{before.name} is a {kind_word(before)}")
    if isinstance(wanted.kind, Vxlan) and wanted.kind != before.kind:
        raise Refused(errnos.EEXIST, f"{before.name} is a VXLAN device with other parameters")


def _check_new_kind(there: FakeObjects, wanted: Link) -> None:
    kind = wanted.kind
    if not isinstance(kind, Vxlan):
        return
    there.link(kind.underlay)
    for other in there.links():
        if isinstance(other.kind, Vxlan) and is_same_tunnel(kind, other.kind):
            raise Refused(errnos.EEXIST, "A VXLAN device with the specified VNI already exists")


def _check_settings(there: FakeObjects, wanted: Link) -> None:
    if wanted.mtu is not None and not _MTU_MIN <= wanted.mtu <= _MTU_MAX:
        raise Refused(errnos.EINVAL, f"mtu {wanted.mtu} is not between 68 and 65535")
    if wanted.mac is not None and (int(wanted.mac[:2], 16) & 1 or not wanted.mac.strip("0:")):
        raise Refused(errnos.EADDRNOTAVAIL, f"{wanted.mac} is no unicast address")
    if wanted.master and not isinstance(there.link(wanted.master).kind, Bridge):
        raise Refused(errnos.EOPNOTSUPP, f"{wanted.master} is no bridge")
    if wanted.hairpin and not wanted.master:
        raise Refused(errnos.EOPNOTSUPP, f"{wanted.name} is no bridge port")


def check_address(there: FakeObjects, item: Address) -> None:
    """Refuse an address that its device cannot have."""
    there.link(item.dev)
    if family_of(item.address) is not Family.IPV6:
        return
    if there.sysctls.value(f"ipv6/conf/{item.dev}/disable_ipv6") == "1":
        raise Refused(errnos.EACCES, f"IPv6 is disabled on {item.dev}")


def check_route(there: FakeObjects, route: Route) -> None:
    """Refuse a route that leads nowhere, or whose source is not the node's."""
    family = family_of(route.dst)
    if family is Family.IPV6 and route.metric == 0:
        raise Refused(errnos.EINVAL, "an IPv6 route has a metric above 0; the kernel's is 1024")
    if route.kind != "unicast":
        if route.dev or route.nexthops or route.via:
            raise Refused(errnos.EINVAL, f"a {route.kind} route leads nowhere")
        return
    hops = route.nexthops or (NextHop(route.dev, route.via, onlink=route.onlink),)
    for hop in hops:
        there.link(hop.dev)
    for hop in hops:
        _check_hop(there, hop, route)
    if route.src is not None and not there.is_local(route.src):
        raise Refused(errnos.EINVAL, f"{route.src} is no address of this node")


def _check_hop(there: FakeObjects, hop: NextHop, route: Route) -> None:
    if not there.link(hop.dev).up:
        _refuse_down(hop, route)
    if hop.via is None:
        return
    family = family_of(route.dst)
    if family is Family.IPV6 and there.is_local(hop.via):
        raise Refused(errnos.EINVAL, "Gateway can not be a local address")
    if family is Family.IPV4 and route.scope == "link":
        raise Refused(errnos.ENETUNREACH, "Nexthop has invalid gateway")
    if not hop.onlink and not there.is_on_link(hop.via, hop.dev):
        number = errnos.ENETUNREACH if family is Family.IPV4 else errnos.EHOSTUNREACH
        raise Refused(number, f"{hop.via} is not reachable on {hop.dev}")


def _refuse_down(hop: NextHop, route: Route) -> None:
    if hop.via is None or hop.onlink:
        raise Refused(errnos.ENETDOWN, f"{hop.dev} is not up")
    family = family_of(route.dst)
    number = errnos.ENETUNREACH if family is Family.IPV4 else errnos.EHOSTUNREACH
    raise Refused(number, f"{hop.via} is not reachable on {hop.dev}: it is not up")


def check_neighbour(there: FakeObjects, item: Neighbour) -> None:
    """Refuse a neighbour on no device, or without a MAC."""
    there.link(item.dev)
    if not item.proxy and not item.mac:
        raise Refused(errnos.EINVAL, "a permanent neighbour needs a MAC")


def check_fdb(there: FakeObjects, item: FdbEntry) -> None:
    """Refuse an entry of what is no tunnel, or of one over the other family."""
    kind = there.link(item.dev).kind
    if not isinstance(kind, Vxlan):
        raise Refused(errnos.EOPNOTSUPP, f"{item.dev} is no VXLAN device")
    if family_of(kind.local) is not family_of(item.dst):
        raise Refused(errnos.EAFNOSUPPORT, f"{item.dev} tunnels over the other family")
