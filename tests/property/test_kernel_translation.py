"""Model values to netlink fields, to bytes, and back: nothing is lost, for any value."""

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from podway.kernel.addresses import address_fields, parse_address
from podway.kernel.links import change_requests, parse_link
from podway.kernel.neighbours import (
    fdb_fields,
    neighbour_fields,
    parse_neighbour,
    parse_neighbour_key,
)
from podway.kernel.routes import parse_route, route_fields, without_hops
from podway.kernel.rules import parse_rule, rule_fields
from podway.model.addresses import Family, IPAddress, IPInterface, IPNetwork
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    Link,
    Neighbour,
    NextHop,
    Route,
    Rule,
)
from podway.netlink import (
    Request,
    create_address,
    create_rule,
    replace_fdb,
    replace_neighbour,
    replace_route,
)
from podway.netlink.constants import IFF_UP

DEVICES = {"eth0": 2, "cni0": 3, "podway.1": 400}
NAMES = {index: name for name, index in DEVICES.items()}

devices = st.sampled_from(sorted(DEVICES))
macs = st.binary(min_size=6, max_size=6).map(lambda packed: packed.hex(":"))
numbers = st.integers(1, 2**32 - 1)


def addresses(version: int) -> st.SearchStrategy[IPAddress]:
    return st.ip_addresses(v=version)  # type: ignore[arg-type]


def networks(version: int) -> st.SearchStrategy[IPNetwork]:
    kind = IPv4Network if version == 4 else IPv6Network
    bits = 32 if version == 4 else 128
    return st.builds(
        lambda address, length: kind((int(address), length), strict=False),
        addresses(version),
        st.integers(0, bits),
    )


def interfaces(version: int) -> st.SearchStrategy[IPInterface]:
    kind = IPv4Interface if version == 4 else IPv6Interface
    lengths = st.integers(0, 32 if version == 4 else 128)
    return st.builds(
        lambda address, length: kind((int(address), length)), addresses(version), lengths
    )


def hops(version: int) -> st.SearchStrategy[NextHop]:
    return st.builds(
        NextHop,
        dev=devices,
        via=addresses(version),
        weight=st.integers(1, 256),
        onlink=st.booleans(),
    )


@st.composite
def routes(draw: st.DrawFn) -> Route:
    version = draw(st.sampled_from((4, 6)))
    common: dict[str, Any] = {
        "dst": draw(networks(version)),
        "table": draw(numbers),
        "metric": draw(numbers),
        "protocol": draw(st.integers(1, 255)),
        "mtu": draw(st.integers(0, 65535)),
    }
    match draw(st.sampled_from(("single", "multi", "none"))):
        case "none":
            kind = draw(st.sampled_from(("blackhole", "unreachable")))
            return Route(**common, kind=kind)
        case "multi":
            return Route(
                **common, nexthops=tuple(draw(st.lists(hops(version), min_size=2, max_size=4)))
            )
        case _:
            via = draw(st.none() | addresses(version))
            return Route(
                **common,
                dev=draw(devices),
                via=via,
                onlink=via is not None and draw(st.booleans()),
                scope=draw(st.sampled_from(("global", "link"))) if version == 4 else "global",
                src=draw(st.none() | addresses(version)),
            )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    version = draw(st.sampled_from((4, 6)))
    prefixes = st.none() | networks(version).filter(lambda prefix: prefix.prefixlen > 0)
    mask = draw(st.integers(0, 2**32 - 1))
    return Rule(
        family=Family.IPV4 if version == 4 else Family.IPV6,
        priority=draw(numbers),
        table=draw(numbers),
        src=draw(prefixes),
        dst=draw(prefixes),
        fwmark=draw(st.integers(0, 2**32 - 1)) & mask,
        fwmask=mask,
        iif=draw(st.sampled_from(("", *DEVICES))),
        protocol=draw(st.integers(0, 255)),
    )


def over_the_wire(request: Request[Any]) -> Any:
    """Return what the kernel would have received."""
    data = request.schema.encode(request.fields)
    return request.schema.decode(data, 0, len(data))


def name_of(index: int) -> str:
    return NAMES[index]


@given(routes())
def test_routes(route: Route) -> None:
    request = replace_route(route_fields(route, DEVICES.__getitem__))
    assert parse_route(over_the_wire(request), name_of) == route


@given(st.one_of(interfaces(4), interfaces(6)), devices)
def test_addresses(interface: IPInterface, dev: str) -> None:
    request = create_address(address_fields(interface, DEVICES[dev]))
    assert parse_address(over_the_wire(request), dev) == Address(dev, interface)


@given(interfaces(4), devices)
def test_addresses_of_scope_host(interface: IPInterface, dev: str) -> None:
    address = Address(dev, interface, scope="host")
    request = create_address(address_fields(interface, DEVICES[dev], address.scope))
    assert parse_address(over_the_wire(request), dev) == address


@given(st.one_of(addresses(4), addresses(6)), macs, devices, st.booleans())
def test_neighbours(address: IPAddress, mac: str, dev: str, proxy: bool) -> None:  # noqa: FBT001
    neighbour = Neighbour(dev, address, "" if proxy else mac, proxy=proxy)
    message = over_the_wire(replace_neighbour(neighbour_fields(neighbour, DEVICES[dev])))
    assert parse_neighbour(message, dev) == neighbour
    assert parse_neighbour_key(message, dev) == neighbour.key


@given(st.one_of(addresses(4), addresses(6)), macs, devices)
def test_fdb_entries(address: IPAddress, mac: str, dev: str) -> None:
    entry = FdbEntry(dev, mac, address)
    message = over_the_wire(replace_fdb(fdb_fields(entry, DEVICES[dev])))
    assert parse_neighbour(message, dev) == entry
    assert parse_neighbour_key(message, dev) == entry.key


@given(rules())
def test_rules(rule: Rule) -> None:
    assert parse_rule(over_the_wire(create_rule(rule_fields(rule)))) == rule


links = st.builds(
    Link,
    name=st.just("podway.1"),
    kind=st.just(Bridge()),
    mtu=st.integers(68, 65535),
    mac=macs,
    master=st.sampled_from(("", "cni0")),
    alias=st.sampled_from(("", "podway:a", "podway:b")),
    up=st.booleans(),
    hairpin=st.booleans(),
).map(lambda link: link if link.master else replace(link, hairpin=False))


@given(links, links)
def test_changes_of_links(desired: Link, observed: Link) -> None:
    """Applied to what was observed, the requests give what is desired, and none is superfluous."""
    requests = change_requests(desired, observed, DEVICES.__getitem__)
    message = _message_of(observed)
    for request in requests:
        _carry_out(message, over_the_wire(request))
    assert parse_link(message, name_of) == desired  # type: ignore[arg-type]  # a LinkMessage
    assert bool(requests) == (desired != observed)


@given(routes().filter(lambda route: bool(route.nexthops)), st.data())
def test_what_is_left_of_a_multipath_route(route: Route, data: st.DataObject) -> None:
    gone = tuple(data.draw(st.lists(st.sampled_from(route.nexthops), unique=True)))
    left = without_hops(route, Route(dst=route.dst, nexthops=gone)) if gone else route
    ways = {(hop.dev, hop.via) for hop in gone}
    expected = [hop for hop in route.nexthops if (hop.dev, hop.via) not in ways]
    if left is None:
        assert expected == []
    elif left.nexthops:
        assert list(left.nexthops) == expected
    else:
        assert [(left.dev, left.via)] == [(hop.dev, hop.via) for hop in expected]


def _message_of(link: Link) -> dict[str, Any]:
    """Return *link* as the kernel would describe it."""
    return {
        "ifname": link.name,
        "flags": IFF_UP if link.up else 0,
        "mtu": link.mtu,
        "address": link.mac,
        "ifalias": link.alias,
        "master": DEVICES[link.master] if link.master else 0,
        "linkinfo": {"kind": "bridge", "slave_data": {"mode": int(bool(link.hairpin))}},
    }


def _carry_out(message: dict[str, Any], request: dict[str, Any]) -> None:
    """Change *message* as the kernel would change the device."""
    if request.get("change"):
        message["flags"] = request["flags"]
    if request.get("master", message["master"]) != message["master"]:
        message["linkinfo"]["slave_data"]["mode"] = 0
    for name in ("mtu", "address", "ifalias", "master"):
        message[name] = request.get(name, message[name])
    if "linkinfo" in request:
        message["linkinfo"]["slave_data"] = request["linkinfo"]["slave_data"]
