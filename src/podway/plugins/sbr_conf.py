"""The configuration of ``sbr``, and the addresses that prevResult has for its interface.

In: a request. Out: frozen values, or error 7.
"""

from podway.cni.addresses import first_address, parse_address, parse_prefix, share_subnet
from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.values import Value
from podway.plugins.link_fields import plugin_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import NetConf
    from podway.cni.results import Result

_MAX_TABLE: "Final" = (1 << 32) - 1


class SbrConf(Value):
    """What the configuration asks for.

    Attributes:
        table: in which the routes are, made by somebody else; None for tables of its own.
        gateways: next hops of default routes, at most one of 4 and one of 16 bytes.
        adds_source_hints: subnets stay in the main table, with the address to send from.
    """

    table: int | None = None
    gateways: tuple[bytes, ...] = ()
    adds_source_hints: bool = False


class Source(Value):
    """An address of the interface.

    Attributes:
        packed: 4 or 16 bytes.
        bits: length of its subnet's prefix.
        gateway: next hop that comes with it, None without one.
    """

    packed: bytes
    bits: int
    gateway: bytes | None

    @property
    def subnet(self) -> bytes:
        """The first address of its subnet."""
        return first_address(self.packed, self.bits)

    def reaches(self, packed: bytes | None) -> bool:
        """Tell whether an address is in the same subnet; None is in none."""
        return packed is not None and share_subnet(packed, self.packed, self.bits)


def parse_conf(config: "NetConf") -> SbrConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(config)
    gateways: list[bytes] = []
    for position, text in enumerate(fields.texts("gateways")):
        key = f"gateways[{position}]"
        try:
            packed = parse_address(text)
        except ValueError as error:
            raise fields.refused(key, text, str(error)) from None
        if any(len(each) == len(packed) for each in gateways):
            raise fields.refused(key, text, "must be the only one of its family")
        gateways.append(packed)
    return SbrConf(
        table=fields.integer_within("table", 1, _MAX_TABLE),
        gateways=tuple(gateways),
        adds_source_hints=fields.boolean("addSourceHints"),
    )


def find_sources(result: "Result", ifname: str) -> tuple[Source, ...]:
    """Return the addresses that *result* has for an interface.

    One that names no interface, as before 0.3.0, counts.
    """
    names = [interface.name for interface in result.interfaces]
    sources = []
    for ip in result.ips:
        position = ip.interface
        if position is None or (position < len(names) and names[position] == ifname):
            packed, bits = parse_prefix(ip.address)
            gateway = parse_address(ip.gateway) if ip.gateway else None
            sources.append(Source(packed=packed, bits=bits, gateway=gateway))
    return tuple(sources)


def required_sources(result: "Result", ifname: str) -> tuple[Source, ...]:
    """Return the addresses that *result* has for an interface, of which there must be one.

    Raises:
        CniError: INVALID_CONFIG.
    """
    sources = find_sources(result, ifname)
    if not sources:
        text = f"prevResult has no address of interface {ifname}: there is nothing to route by"
        raise CniError(INVALID_CONFIG, text)
    return sources
