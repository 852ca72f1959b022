"""Objects in iproute2's words, as one would type them."""

from podway.model.addresses import Family
from podway.model.kernel import Bridge, FdbEntry, Ipip, Link, Neighbour, Route, Rule, Veth, Vxlan


def family_flag(family: Family) -> str:
    return "-4" if family is Family.IPV4 else "-6"


def kind_words(item: Link) -> list[str]:
    match item.kind:
        case Bridge():
            return ["bridge"]
        case Veth():
            return ["veth", "peer", "name", f"{item.name[:12]}-p"]
        case Vxlan() as kind:
            words = ["vxlan", "id", str(kind.vni), "dstport", str(kind.port), "dev", kind.underlay]
            words += ["local", str(kind.local), "learning" if kind.learning else "nolearning"]
            return words + (["gbp"] if kind.gbp else [])
        case Ipip(local=local):
            return ["ipip", "mode", "ipip", "local", str(local)]
        case _:
            raise AssertionError("iproute2 makes no such device")


def route_words(item: Route) -> list[str]:
    words = ["unicast" if item.kind == "unicast" else item.kind, str(item.dst)]
    words += ["table", str(item.table), "protocol", str(item.protocol)]
    if item.metric:
        words += ["metric", str(item.metric)]
    if item.mtu:
        words += ["mtu", str(item.mtu)]
    if item.src:
        words += ["src", str(item.src)]
    for hop in item.nexthops or ([item] if item.dev else []):
        words += ["nexthop"] if item.nexthops else []
        words += ["via", str(hop.via)] if hop.via else []
        words += ["dev", hop.dev, *(["onlink"] if hop.onlink else [])]
        words += ["weight", str(hop.weight)] if item.nexthops else []  # type: ignore[union-attr]
    return words


def neighbour_words(item: Neighbour) -> list[str]:
    if item.proxy:
        return ["proxy", str(item.address), "dev", item.dev]
    return [str(item.address), "lladdr", item.mac, "nud", "permanent", "dev", item.dev]


def fdb_words(item: FdbEntry) -> list[str]:
    return [item.mac, "dev", item.dev, "dst", str(item.dst), "self", "permanent"]


def rule_words(item: Rule) -> list[str]:
    words = ["priority", str(item.priority), "table", str(item.table)]
    words += ["protocol", str(item.protocol)]
    words += ["from", str(item.src)] if item.src else []
    words += ["to", str(item.dst)] if item.dst else []
    words += ["fwmark", f"{item.fwmark:#x}/{item.fwmask:#x}"] if item.fwmask else []
    words += ["iif", item.iif] if item.iif else []
    return words
