"""Links: from the model's values to RTM_NEWLINK fields and back. Pure."""

from ipaddress import IPv4Address, ip_address

from podway.model.instances import PODWAY, UNFINISHED_GROUP, Marks
from podway.model.kernel import (
    Bridge,
    Ipip,
    Link,
    LinkKind,
    PodSide,
    Tun,
    Veth,
    Vxlan,
    Wireguard,
)
from podway.model.networks import MIN_MTU_IPV6
from podway.netlink import Request, change_link, create_link
from podway.netlink.constants import (
    BRIDGE_MODE_HAIRPIN,
    IFF_UP,
    IN6_ADDR_GEN_MODE_NONE,
    IPPROTO_IPIP,
)

_MTU_MIN = 68
# include/uapi/linux/if_tun.h
_IFF_TUN = 1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from podway.netlink.link_messages import LinkMessage

    IndexOf = Callable[[str], int]
    NameOf = Callable[[int], str]


def create_request(
    link: Link, index_of: "IndexOf", pod_fd: int = -1, group: int = UNFINISHED_GROUP
) -> "Request[LinkMessage]":
    """Return the request that makes *link*, down, and its other end in namespace *pod_fd*.

    A device is born into *group* and leaves it when it is done, both ends of a pair: the kernel
    takes no alias at birth, and who is killed in between must leave something that tells whose it
    is and that it is no good.

    The kernel takes alias and address generation only once the device exists (rtnl_create_link),
    see `finish_requests`; a pair's other end is made in its place and under its name at once.
    """
    fields: LinkMessage = {
        "ifname": link.name,
        "group": group,
        "linkinfo": {
            "kind": kind_name(link.kind),
            "data": _creation_data(link.kind, index_of, pod_fd),
        },
    }
    if link.mtu is not None and not isinstance(link.kind, Bridge):
        fields["mtu"] = link.mtu
    if link.mac is not None:
        fields["address"] = link.mac
    return create_link(fields)


def finish_requests(link: Link, index_of: "IndexOf", *, ipv6: bool) -> "list[Request[LinkMessage]]":
    """Return the requests that finish *link* once it exists: mark, master, up.

    Address generation must be off before the device is up, and the kernel looks at it last in a
    message (do_setlink): it goes with the mark, before. A bridge keeps its link-local address: the
    node asks its pods for their MACs from there on behalf of whom it forwards for (ndisc_solicit).
    """
    marked: LinkMessage = {"ifname": link.name, "ifalias": link.alias}
    too_small = link.mtu is not None and link.mtu < MIN_MTU_IPV6  # has no IPv6, nor the message
    if ipv6 and not too_small and not isinstance(link.kind, Bridge):
        marked["af_spec"] = {"inet6": {"addr_gen_mode": IN6_ADDR_GEN_MODE_NONE}}
    started: LinkMessage = {"ifname": link.name}
    requests = [change_link(marked), change_link(started)]
    if isinstance(link.kind, Bridge) and link.mtu is not None:
        # A bridge takes its smallest port's MTU unless it was told one, and what it was born with
        # or has already does not count as told (br_change_mtu, br_mtu_auto_adjust).
        marked["mtu"] = link.mtu - 1 if link.mtu > _MTU_MIN else link.mtu + 1
        started["mtu"] = link.mtu
    if link.up:
        started["flags"] = started["change"] = IFF_UP
    if link.master:
        started["master"] = index_of(link.master)
    return requests


def done_request(link: Link) -> "Request[LinkMessage]":
    """Return the request that says that nothing is missing on *link* any more.

    A port's hairpin mode goes with it. The kernel tells everybody of each such message once the
    device is up, and its IPv6 looks at every route then (netif_state_change, rt6_sync_up).
    """
    port = _hairpin(link) if _has_hairpin(link) else {}
    return change_link({"ifname": link.name, "group": 0, **port})


def change_requests(
    desired: Link, observed: Link, index_of: "IndexOf"
) -> "list[Request[LinkMessage]]":
    """Return the requests that turn *observed* into *desired* in place."""
    fields: LinkMessage = {}
    if desired.mtu not in (None, observed.mtu):
        fields["mtu"] = desired.mtu
    if desired.mac not in (None, observed.mac):
        fields["address"] = desired.mac
    if desired.master != observed.master:
        fields["master"] = index_of(desired.master) if desired.master else 0
    if desired.alias != observed.alias:
        fields["ifalias"] = desired.alias
    if desired.up != observed.up:
        fields["flags"], fields["change"] = (IFF_UP if desired.up else 0), IFF_UP
    requests = [change_link({"ifname": desired.name, **fields})] if fields else []
    # A port that joins a bridge starts without; what is no port has none, and the kernel says so.
    before = observed.hairpin if desired.master in {"", observed.master} else False
    if desired.hairpin != before and _has_hairpin(desired):
        requests.append(change_link({"ifname": desired.name, **_hairpin(desired)}))
    return requests


def parse_link(message: "LinkMessage", name_of: "NameOf", marks: Marks = PODWAY) -> Link | None:
    """Return the link that *message* describes, None for a kind that podway does not make.

    *marks* are those of the agent that asks.
    """
    info = message.get("linkinfo", {})
    name = info.get("kind", "")
    if name == "tun" and message.get("ifalias") == marks.wireguard:
        name = "wireguard"
    kind = _parse_kind(name, info.get("data", {}), name_of)
    if kind is None:
        return None
    master = message.get("master", 0)
    unfinished = message.get("group") == marks.group
    return Link(
        name=message["ifname"],
        kind=kind,
        mtu=message.get("mtu"),
        mac=message.get("address"),
        master=name_of(master) if master else "",
        alias=marks.unfinished if unfinished else message.get("ifalias", ""),
        up=bool(message["flags"] & IFF_UP),
        hairpin=_parse_hairpin(info),
    )


def kind_name(kind: LinkKind) -> str:
    """Return the kernel's name of *kind* (IFLA_INFO_KIND)."""
    match kind:
        case Bridge():
            return "bridge"
        case Vxlan():
            return "vxlan"
        case Ipip():
            return "ipip"
        case Wireguard():
            return "wireguard"
        case Tun():
            return "tun"
        case Veth():
            return "veth"


def _has_hairpin(link: Link) -> bool:
    """Tell whether *link*'s hairpin mode is to be written; what is no port has none."""
    return link.hairpin is not None and bool(link.master or link.hairpin)


def _hairpin(link: Link) -> "LinkMessage":
    mode = BRIDGE_MODE_HAIRPIN if link.hairpin else 0
    return {"linkinfo": {"slave_kind": "bridge", "slave_data": {"mode": mode}}}


def _creation_data(kind: LinkKind, index_of: "IndexOf", pod_fd: int) -> "Mapping[str, Any]":
    match kind:
        case Vxlan():
            data: dict[str, Any] = {
                "id": kind.vni,
                "link": index_of(kind.underlay),
                "port": kind.port,
                "learning": int(kind.learning),
                ("local" if kind.local.version == 4 else "local6"): kind.local.packed,
            }
            return {**data, "gbp": True} if kind.gbp else data
        case Ipip():
            # The outer TTL is the inner one's, and what must not be cut inside is not outside.
            return {"local": kind.local.packed, "proto": IPPROTO_IPIP}
        case Bridge():
            # Without a querier the kernel floods all multicast, snooping or not; with snooping it
            # also sets timers of every port whenever one joins (br_multicast_enable_port).
            return {"mcast_snooping": 0}
        case Veth(pod=PodSide() as pod):
            end = {"ifname": pod.ifname, "mtu": pod.mtu, "address": pod.mac, "net_ns_fd": pod_fd}
            # For IPv4, too: what is no more than 65536 is for all (netif_set_gso_max_size).
            limit = {} if pod.gso_max_size is None else {"gso_max_size": pod.gso_max_size}
            return {"peer": {**end, **limit}}
        case _:
            return {}


_PLAIN_KINDS: "Mapping[str, LinkKind]" = {
    "bridge": Bridge(),
    "veth": Veth(),
    "wireguard": Wireguard(),
}


def _parse_kind(kind: str, data: "Mapping[str, Any]", name_of: "NameOf") -> LinkKind | None:
    match kind:
        case "bridge" | "veth" | "wireguard":
            return _PLAIN_KINDS[kind]
        case "vxlan":
            local = data.get("local") or data.get("local6") or bytes(4)
            underlay = data.get("link", 0)
            return Vxlan(
                vni=data.get("id", 0),
                local=ip_address(local),
                underlay=name_of(underlay) if underlay else "",
                port=data.get("port", 0),
                gbp=bool(data.get("gbp", False)),
                learning=bool(data.get("learning", 0)),
            )
        case "tun":
            return Tun() if _is_tunnel(data) else None
        case "ipip":
            return _parse_ipip(data)
        case _:
            return None


def _parse_ipip(data: "Mapping[str, Any]") -> Ipip | None:
    """Return the tunnel, None for one with a far end or for another payload: nobody's here.

    With 0 for the payload it takes IPv4 beside others: iproute2 and flanneld make it so.
    """
    if any(data.get("remote", b"")) or data.get("proto", IPPROTO_IPIP) not in (0, IPPROTO_IPIP):
        return None
    return Ipip(local=IPv4Address(data.get("local", bytes(4))))


def _is_tunnel(data: "Mapping[str, Any]") -> bool:
    """Tell whether a TUN device is made as ours are (drivers/net/tun.c, tun_fill_info)."""
    wanted = {"type": _IFF_TUN, "vnet_hdr": 1, "persist": 1, "multi_queue": 0}
    return all(data.get(name) == value for name, value in wanted.items())


def _parse_hairpin(info: "Mapping[str, Any]") -> bool:
    mode: int = info.get("slave_data", {}).get("mode", 0)
    return mode == BRIDGE_MODE_HAIRPIN
