"""What ADD returns: interfaces, addresses, routes, DNS; read from and written in every version.

In: a JSON object of any version (a plugin's stdout, ``prevResult``). Out: one frozen value in the
shape of 1.1.0, and JSON of any version from it. SPEC 1.1.0, "Success"; conversions as in libcni
(``pkg/types/{020,040,100}``)::

    0.1.0 0.2.0        ip4 {ip gateway routes}  ip6 {...}  dns
    0.3.0 0.3.1 0.4.0  interfaces  ips [{version interface address gateway}]  routes  dns
    1.0.0 1.1.0        interfaces  ips [{interface address gateway}]          routes  dns

Down to 0.4.0 an interface keeps its name, MAC and sandbox; down to 0.2.0 the first address of each
family stays, with the routes of its family. ``dns`` is always there before 1.0.0, and only when it
says something since. Before 1.1.0 libcni passes on the keys that came with 1.1.0 (an interface's
mtu, a route's table) where the shape has a place for them; so does this.
"""

from podway.cni.addresses import canonical_address, canonical_cidr, is_ipv4
from podway.cni.documents import encode
from podway.cni.errors import DECODING_FAILURE, INTERNAL, CniError, broken_rule
from podway.cni.fields import Fields
from podway.cni.values import Value
from podway.cni.versions import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

# The shapes: versions before _LISTS have ip4 and ip6, those from _BARE on give ips no version.
_LISTS: "Final" = ALL.index("0.3.0")
_BARE: "Final" = ALL.index("1.0.0")
_U8: "Final" = (1 << 8) - 1
_U32: "Final" = (1 << 32) - 1


class Interface(Value):
    """A device that the plugin made or found.

    Attributes:
        sandbox: path of its network namespace, "" on the host.
        mac: "" where there is none.
        mtu: bytes, 0 when not told.
        socket_path: of a vhost-user or similar device.
        pci_id: of a passed-through function.
    """

    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""
    socket_path: str = ""
    pci_id: str = ""


class Ip(Value):
    """An address that the container was given.

    Attributes:
        address: with prefix length, in canonical form (``10.244.1.5/24``).
        gateway: "" for none.
        interface: index into `Result.interfaces`; None in an IPAM plugin's result.
    """

    address: str
    gateway: str = ""
    interface: int | None = None


class Route(Value):
    """A route that the container was given; zero, "" and None mean not told.

    Attributes:
        dst: prefix in canonical form.
        gw: next hop.
        mtu: bytes.
        advmss: bytes of payload that a TCP peer is told.
        priority: metric.
        table: routing table.
        scope: as the kernel numbers it (``RT_SCOPE_LINK`` is 253).
    """

    dst: str
    gw: str = ""
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


class Dns(Value):
    """What the container's resolver should know."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Result(Value):
    """The result of an ADD."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[Ip, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()


def render_result(result: Result, version: str) -> str:
    """Return *result* as JSON of *version*.

    Raises:
        CniError: INTERNAL, 0.2.0 and older cannot say a result without addresses.
    """
    return encode(result_document(result, version))


def result_document(result: Result, version: str) -> "dict[str, Any]":
    """Return *result* as the object that `render_result` writes; also what prevResult holds.

    Raises:
        CniError: as `render_result`.
    """
    position = ALL.index(version)
    if position < _LISTS:
        return {"cniVersion": version, **_families_document(result), "dns": _dns(result.dns)}
    with_version = position < _BARE
    lists = {
        "interfaces": [_interface(each, bare=with_version) for each in result.interfaces],
        "ips": [_ip(each, with_version=with_version) for each in result.ips],
        "routes": [_route(each) for each in result.routes],
    }
    dns = _dns(result.dns)
    document = {"cniVersion": version, **_without_blanks(lists)}
    return {**document, "dns": dns} if dns or with_version else document


def parse_result(document: "Mapping[str, Any]", version: str = "") -> Result:
    """Return the result in *document*, whatever its version.

    Args:
        document: an object as `documents.decode` returns it.
        version: what it counts as if it does not say; the configuration's.

    Raises:
        CniError: DECODING_FAILURE.
    """
    fields = Fields(document)
    version = fields.text("cniVersion") or version
    if version not in ALL:
        rule = f"must be one of {', '.join(ALL)}"
        raise broken_rule("cniVersion", version, rule, DECODING_FAILURE)
    if ALL.index(version) < _LISTS:
        return _parse_families(fields)
    return Result(
        interfaces=tuple(_parse_interface(each) for each in fields.each("interfaces")),
        ips=tuple(_parse_ip(each) for each in fields.each("ips")),
        routes=tuple(parse_route(each) for each in fields.each("routes")),
        dns=parse_dns(fields.fields("dns")),
    )


def _without_blanks(document: "Mapping[str, Any]") -> "dict[str, Any]":
    """Leave out what Go's ``omitempty`` leaves out; an index of 0 stays, it is a pointer there."""
    return {key: value for key, value in document.items() if value not in ("", None, [], ())}


def _interface(interface: Interface, *, bare: bool) -> "dict[str, Any]":
    kept = {"name": interface.name}
    told: dict[str, str | int | None] = {"mac": interface.mac, "sandbox": interface.sandbox}
    if not bare:
        told["mtu"] = interface.mtu or None
        told["socketPath"] = interface.socket_path
        told["pciID"] = interface.pci_id
    return {**kept, **_without_blanks(told)}


def _ip(ip: Ip, *, with_version: bool) -> "dict[str, Any]":
    version = ("4" if is_ipv4(ip.address) else "6") if with_version else ""
    return _without_blanks(
        {
            "version": version,
            "interface": ip.interface,
            "address": ip.address,
            "gateway": ip.gateway,
        }
    )


def _route(route: Route) -> "dict[str, Any]":
    return _without_blanks(
        {
            "dst": route.dst,
            "gw": route.gw,
            "mtu": route.mtu or None,
            "advmss": route.advmss or None,
            "priority": route.priority or None,
            "table": route.table,
            "scope": route.scope,
        }
    )


def _dns(dns: Dns) -> "dict[str, Any]":
    return _without_blanks(
        {
            "nameservers": dns.nameservers,
            "domain": dns.domain,
            "search": dns.search,
            "options": dns.options,
        }
    )


def _families_document(result: Result) -> "dict[str, Any]":
    """Return ip4 and ip6: the first address of each family and that family's routes."""
    families = {}
    for key, four in (("ip4", True), ("ip6", False)):
        first = next((ip for ip in result.ips if is_ipv4(ip.address) is four), None)
        if first is not None:
            routes = (route for route in result.routes if is_ipv4(route.dst) is four)
            families[key] = _family(first, routes)
    if not families:
        raise CniError(
            INTERNAL, "the result has no address, and versions up to 0.2.0 cannot say that"
        )
    return families


def _family(ip: Ip, routes: "Iterable[Route]") -> "dict[str, Any]":
    pairs = [_without_blanks({"dst": route.dst, "gw": route.gw}) for route in routes]
    return _without_blanks({"ip": ip.address, "gateway": ip.gateway, "routes": pairs})


def _parse_families(fields: Fields) -> Result:
    families = [fields.fields(key) for key in ("ip4", "ip6") if fields.value(key) is not None]
    return Result(
        ips=tuple(
            Ip(
                address=_parse(family, "ip", canonical_cidr),
                gateway=_parse_optional(family, "gateway", canonical_address),
            )
            for family in families
        ),
        routes=tuple(parse_route(each) for family in families for each in family.each("routes")),
        dns=parse_dns(fields.fields("dns")),
    )


def _parse_interface(fields: Fields) -> Interface:
    return Interface(
        name=fields.text("name"),
        mac=fields.text("mac"),
        mtu=fields.integer("mtu") or 0,
        sandbox=fields.text("sandbox"),
        socket_path=fields.text("socketPath"),
        pci_id=fields.text("pciID"),
    )


def _parse_ip(fields: Fields) -> Ip:
    # The family stands in the address; libcni does not look at ``version`` either.
    interface = fields.integer("interface")
    if interface is not None and interface < 0:
        raise fields.refused("interface", interface, "must be an index into interfaces")
    return Ip(
        address=_parse(fields, "address", canonical_cidr),
        gateway=_parse_optional(fields, "gateway", canonical_address),
        interface=interface,
    )


def parse_route(fields: Fields) -> Route:
    """Return the route in *fields*: of a result, or of a configuration.

    Raises:
        CniError: with the code of *fields*.
    """
    return Route(
        dst=_parse(fields, "dst", canonical_cidr),
        gw=_parse_optional(fields, "gw", canonical_address),
        mtu=_bounded(fields, "mtu", _U32) or 0,
        advmss=_bounded(fields, "advmss", _U32) or 0,
        priority=_bounded(fields, "priority", _U32) or 0,
        table=_bounded(fields, "table", _U32),
        scope=_bounded(fields, "scope", _U8),
    )


def _bounded(fields: Fields, key: str, most: int) -> int | None:
    """Return a number that the kernel can hold."""
    value = fields.integer(key)
    if value is not None and not 0 <= value <= most:
        raise fields.refused(key, value, f"must be 0 to {most}")
    return value


def parse_dns(fields: Fields) -> Dns:
    """Return the resolver settings in *fields*: of a result, or of a configuration.

    Raises:
        CniError: with the code of *fields*.
    """
    return Dns(
        nameservers=fields.texts("nameservers"),
        domain=fields.text("domain"),
        search=fields.texts("search"),
        options=fields.texts("options"),
    )


def _parse(fields: Fields, key: str, canonical: "Callable[[str], str]") -> str:
    text = fields.text(key)
    try:
        return canonical(text)
    except ValueError as error:
        raise fields.refused(key, text, str(error)) from None


def _parse_optional(fields: Fields, key: str, canonical: "Callable[[str], str]") -> str:
    return _parse(fields, key, canonical) if fields.text(key) else ""
