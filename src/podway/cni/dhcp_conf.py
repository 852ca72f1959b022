"""Keys of ``ipam`` that the ``dhcp`` plugin and its daemon read.

In: a request. Out: a checked value. Called by the plugin, so that a runtime hears of a wrong key
though the daemon is away, and by the daemon (`podway.dhcp`). Keys, as the reference plugin's::

    daemonSocketPath  where the daemon listens: /run/cni/dhcp.sock
    request           [{option, skipDefault}]: what the server is asked for; routers and subnet-mask
                      besides, unless an entry skips these defaults
    provide           [{option, value, fromArg}]: what the server is told; of CNI_ARGS, if it has
                      the key fromArg, before value
    priority          metric of the routes
    suppress          ["gateway"]: neither gateway nor default route in the result

Options are numbers of RFC 2132 as text, or names as ISC's dhcp-options(5) has them.
"""

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError, broken_rule
from podway.cni.fields import Fields
from podway.cni.frames import parse_socket_path
from podway.cni.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import Request

DEFAULT_DHCP_SOCKET: "Final" = "/run/cni/dhcp.sock"
OPTION_NAMES: "Final" = {
    "subnet-mask": 1,
    "time-offset": 2,
    "routers": 3,
    "domain-name-servers": 6,
    "host-name": 12,
    "domain-name": 15,
    "interface-mtu": 26,
    "broadcast-address": 28,
    "static-routes": 33,
    "ntp-servers": 42,
    "vendor-encapsulated-options": 43,
    "dhcp-lease-time": 51,
    "dhcp-renewal-time": 58,
    "dhcp-rebinding-time": 59,
    "vendor-class-identifier": 60,
    "dhcp-client-identifier": 61,
    "user-class": 77,
    "domain-search": 119,
    "rfc3442-classless-static-routes": 121,
}
DEFAULT_REQUESTED: "Final" = (3, 1)
# Without meaning as an option (0, 255), or the daemon's own business: requested address, overload,
# message type, server, parameter list, message, size of messages.
_RESERVED: "Final" = frozenset({0, 50, 52, 53, 54, 55, 56, 57, 255})
# RFC 2132 section 2: the length of an option is one byte.
MAX_OPTION_BYTES: "Final" = 255
# IFA_RT_PRIORITY and RTA_PRIORITY are unsigned; the reference plugin has a Go int.
_MOST_PRIORITY: "Final" = (1 << 31) - 1
_GATEWAY: "Final" = "gateway"


class DhcpConf(Value):
    """What the configuration says.

    Attributes:
        socket_path: of the daemon.
        requested: options that the server is asked for, in order.
        provided: options that the server is told, by number; none twice.
        priority: metric of the routes, 0 for the kernel's.
        suppresses_gateway: the result has neither gateway nor default route.
    """

    socket_path: str
    requested: tuple[int, ...]
    provided: tuple[tuple[int, bytes], ...]
    priority: int
    suppresses_gateway: bool


def parse_dhcp_conf(request: "Request") -> DhcpConf:
    """Return what *request* configures.

    Raises:
        CniError: INVALID_CONFIG; INVALID_ENVIRONMENT for what ``fromArg`` takes from CNI_ARGS.
    """
    fields = Fields(request.config.raw, code=INVALID_CONFIG)
    if fields.value("ipam") is None:
        raise CniError(INVALID_CONFIG, "ipam is missing: an IPAM plugin reads its keys there")
    ipam = fields.fields("ipam")
    return DhcpConf(
        socket_path=_parse_socket_path(ipam),
        requested=_parse_requested(ipam),
        provided=_parse_provided(ipam, request),
        priority=ipam.integer_within("priority", 0, _MOST_PRIORITY) or 0,
        suppresses_gateway=_parse_suppress(ipam),
    )


def _parse_socket_path(ipam: Fields) -> str:
    text = ipam.text("daemonSocketPath")
    try:
        return parse_socket_path(text or None, DEFAULT_DHCP_SOCKET)
    except CniError:
        rule = "must be an absolute path of at most 107 bytes"
        raise ipam.refused("daemonSocketPath", text, rule) from None


def _parse_requested(ipam: Fields) -> tuple[int, ...]:
    entries = ipam.each("request")
    # An entry may be there for skipDefault alone.
    named = [_parse_option(each) for each in entries if each.text("option")]
    skips = [each.boolean("skipDefault") for each in entries]
    return tuple(dict.fromkeys((*named, *(() if any(skips) else DEFAULT_REQUESTED))))


def _parse_provided(ipam: Fields, request: "Request") -> tuple[tuple[int, bytes], ...]:
    provided = {}
    for entry in ipam.each("provide"):
        number = _parse_option(entry)
        value, argument = entry.text("value"), entry.text("fromArg")
        told = request.args.get(argument) if argument else None
        if told is not None:
            provided[number] = _encode(f"CNI_ARGS {argument}", told, INVALID_ENVIRONMENT)
        elif value:
            provided[number] = _encode(entry.where("value"), value, INVALID_CONFIG)
    return tuple(provided.items())


def _parse_option(entry: Fields) -> int:
    text = entry.text("option")
    number = OPTION_NAMES.get(text)
    if number is None and text.isascii() and text.isdigit() and len(text) <= 3:
        number = int(text)
    if number is None or number > 255 or number in _RESERVED:
        reserved = ", ".join(str(each) for each in sorted(_RESERVED))
        rule = f"must be a number of 1 to 254 but {reserved}, or one of {', '.join(OPTION_NAMES)}"
        raise entry.refused("option", text, rule)
    return number


def _encode(where: str, value: str, code: int) -> bytes:
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise broken_rule(where, value, "must be text that UTF-8 can say", code) from None
    if not 0 < len(encoded) <= MAX_OPTION_BYTES:
        raise broken_rule(where, value, f"must have 1 to {MAX_OPTION_BYTES} bytes", code)
    return encoded


def _parse_suppress(ipam: Fields) -> bool:
    items = ipam.texts("suppress")
    for position, item in enumerate(items):
        if item != _GATEWAY:
            raise ipam.refused(f"suppress[{position}]", item, f"must be {_GATEWAY!r}")
    return bool(items)
