"""What the ``podway`` plugin reads in its entry of a network configuration.

In: a request. Out: one frozen value, every key checked; the agent acts on it. Keys::

    attach       "bridge" or "routed"; absent: as the agent was configured
    mtu          bytes of the pod's interface; absent or 0: what the network allows
    agentSocket  where the agent listens; absent: /run/podway/cni.sock

A runtime asks for addresses and a MAC in one of three places, of which the first that says
something counts: ``runtimeConfig`` (``ips``, ``mac``), ``args.cni`` (likewise), CNI_ARGS (``IP``,
several with commas, and ``MAC``).
"""

from podway.cni.addresses import canonical_mac, parse_address, parse_prefix_bits, render_address
from podway.cni.arguments import POD_KEYS, check_known
from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError, broken_rule, shown
from podway.cni.fields import Fields
from podway.cni.frames import DEFAULT_AGENT_SOCKET, parse_socket_path
from podway.cni.values import Value
from podway.cni.versions import PODWAY_VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from podway.cni.requests import Request

SUPPORTED_VERSIONS: "Final" = PODWAY_VERSIONS
ATTACH_KINDS: "Final" = ("bridge", "routed")
# ETH_MIN_MTU, and the most that a veth device takes (ETH_MAX_MTU).
MTU_BYTES: "Final" = (68, 65535)

_KNOWN_ARGUMENTS: "Final" = (*POD_KEYS, "IP", "MAC")


class RequestedIp(Value):
    """An address that the runtime asks for.

    Attributes:
        address: in canonical form, without prefix length.
        prefix_bits: prefix length if the runtime named one; podway's network has its own.
    """

    address: str
    prefix_bits: int | None = None


class PodwayConf(Value):
    """The plugin's configuration and what the runtime asks for.

    Attributes:
        attach: one of `ATTACH_KINDS`; None leaves it to the agent.
        mtu_bytes: None leaves it to the agent.
        agent_socket: path of the agent's socket.
        ips: at most one per family.
        mac: lower-case colon text, "" for none.
    """

    attach: str | None
    mtu_bytes: int | None
    agent_socket: str
    ips: tuple[RequestedIp, ...]
    mac: str


def parse_podway_conf(request: "Request") -> PodwayConf:
    """Return what *request* configures and asks for.

    Raises:
        CniError: INVALID_CONFIG for a key of the configuration, INVALID_ENVIRONMENT for CNI_ARGS.
    """
    fields = Fields(request.config.raw, code=INVALID_CONFIG)
    check_known(request.args, _KNOWN_ARGUMENTS)
    return PodwayConf(
        attach=_parse_attach(fields),
        mtu_bytes=_parse_mtu(fields),
        agent_socket=parse_socket_path(fields.value("agentSocket"), DEFAULT_AGENT_SOCKET),
        ips=_requested_ips(request),
        mac=_requested_mac(request),
    )


def _parse_attach(fields: Fields) -> str | None:
    if fields.value("attach") is None:
        return None
    attach = fields.text("attach")
    if attach not in ATTACH_KINDS:
        raise fields.refused("attach", attach, f"must be one of {', '.join(ATTACH_KINDS)}")
    return attach


def _parse_mtu(fields: Fields) -> int | None:
    mtu = fields.integer("mtu") or None
    least, most = MTU_BYTES
    if mtu is not None and not least <= mtu <= most:
        raise fields.refused("mtu", mtu, f"must be {least} to {most} bytes, or 0")
    return mtu


class _Order(Value):
    """One of the places where a runtime asks for addresses and a MAC."""

    where: str
    ips: tuple[str, ...]
    mac: str
    code: int


def _orders(request: "Request") -> tuple[_Order, ...]:
    """Return the three places, the one that counts most first."""
    args = request.args
    return (
        _read_order("runtimeConfig", request.config.runtime_config),
        _read_order("args.cni", request.config.args_cni),
        _Order(
            where="CNI_ARGS",
            ips=tuple(args["IP"].split(",")) if args.get("IP") else (),
            mac=args.get("MAC", ""),
            code=INVALID_ENVIRONMENT,
        ),
    )


def _read_order(where: str, document: "Mapping[str, Any]") -> _Order:
    fields = Fields(document, where, INVALID_CONFIG)
    return _Order(where=where, ips=fields.texts("ips"), mac=fields.text("mac"), code=INVALID_CONFIG)


def _requested_ips(request: "Request") -> tuple[RequestedIp, ...]:
    order = next((order for order in _orders(request) if order.ips), None)
    if order is None:
        return ()
    ips = tuple(_parse_ip(text, order) for text in order.ips)
    if len({":" in ip.address for ip in ips}) != len(ips):
        raise CniError(
            order.code,
            f"{order.where} asks for {shown(', '.join(order.ips))}: a pod has one address a family",
        )
    return ips


def _requested_mac(request: "Request") -> str:
    order = next((order for order in _orders(request) if order.mac), None)
    if order is None:
        return ""
    try:
        mac = canonical_mac(order.mac)
    except ValueError as error:
        raise broken_rule(f"{order.where} mac", order.mac, str(error), order.code) from None
    # The kernel takes only such for a device: is_valid_ether_addr().
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        rule = "must be a unicast address other than zero"
        raise broken_rule(f"{order.where} mac", order.mac, rule, order.code)
    return mac


def _parse_ip(text: str, order: _Order) -> RequestedIp:
    address, slash, bits = text.partition("/")
    try:
        packed = parse_address(address)
        prefix_bits = parse_prefix_bits(bits, len(packed) * 8) if slash else None
        _check_usable(packed)
    except ValueError as error:
        raise broken_rule(f"{order.where} ips", text, str(error), order.code) from None
    return RequestedIp(address=render_address(packed), prefix_bits=prefix_bits)


def _check_usable(packed: bytes) -> None:
    """Refuse addresses that no pod can have: unspecified, loopback, multicast, link-local, mapped.

    Raises:
        ValueError: says so.
    """
    if len(packed) == 4:
        usable = packed[0] not in (0, 127) and packed[0] < 224 and packed[:2] != b"\xa9\xfe"
    else:
        link_local = packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
        usable = any(packed[:10]) and packed[0] != 0xFF and not link_local
    if not usable:
        raise ValueError("is no address that a pod can have")
