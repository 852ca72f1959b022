"""The configuration of ``bandwidth``: which limits hold for which traffic.

In: the configuration. Out: limits in bytes, or error 7. Called by ADD, CHECK, STATUS and, where it
can be read, DEL. As in the reference plugin, the configuration's own keys count before
``runtimeConfig.bandwidth``, all or nothing.
"""

from podway.cni.addresses import canonical_cidr, first_address, parse_prefix
from podway.cni.errors import INVALID_CONFIG, broken_rule
from podway.cni.fields import Fields
from podway.cni.values import Value
from podway.netlink.traffic_rates import burst_ticks
from podway.plugins.link_fields import plugin_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import NetConf

_BITS_PER_BYTE: "Final" = 8
_MAX_RATE: "Final" = (1 << 64) - 1
# The kernel's 32 bits of bytes; the reference plugin's limit, too.
_MAX_BURST: "Final" = (_BITS_PER_BYTE << 32) - 2 * _BITS_PER_BYTE + 7
_KEYS: "Final" = (
    "ingressRate",
    "ingressBurst",
    "egressRate",
    "egressBurst",
    "shapedSubnets",
    "unshapedSubnets",
)


class Limit(Value):
    """How much may pass one way.

    Attributes:
        rate_bytes_ps: for ever.
        burst_bytes: at once, after a pause.
    """

    rate_bytes_ps: int
    burst_bytes: int


class Subnet(Value):
    """Addresses that are treated differently.

    Attributes:
        packed: the first one, 4 or 16 bytes.
        bits: prefix length.
    """

    packed: bytes
    bits: int


class BandwidthConf(Value):
    """What the configuration asks for.

    Attributes:
        ingress: what the container may receive; None for no limit.
        egress: what it may send; None for no limit.
        subnets: of the other end of a connection, empty for all.
        shapes_subnets: only traffic with *subnets* is limited; else all but that.
    """

    ingress: Limit | None
    egress: Limit | None
    subnets: tuple[Subnet, ...] = ()
    shapes_subnets: bool = False

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that there are."""
        return tuple(limit for limit in (self.ingress, self.egress) if limit)


def parse_conf(config: "NetConf") -> BandwidthConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(config)
    if not any(fields.has(key) for key in _KEYS):
        runtime = Fields(config.runtime_config, "runtimeConfig", INVALID_CONFIG)
        fields = runtime.fields("bandwidth")
    shaped, unshaped = _parse_subnets(fields, _KEYS[4]), _parse_subnets(fields, _KEYS[5])
    if shaped and unshaped:
        rule = "must be absent where unshapedSubnets says what is not limited"
        raise fields.refused(_KEYS[4], list(fields.texts(_KEYS[4])), rule)
    return BandwidthConf(
        ingress=_parse_limit(fields, "ingressRate", "ingressBurst"),
        egress=_parse_limit(fields, "egressRate", "egressBurst"),
        subnets=shaped or unshaped,
        shapes_subnets=bool(shaped),
    )


def _parse_limit(fields: Fields, rate_key: str, burst_key: str) -> Limit | None:
    rate = fields.integer_within(rate_key, 0, _MAX_RATE) or 0
    burst = fields.integer_within(burst_key, 0, _MAX_BURST) or 0
    if not rate and not burst:
        return None
    if not burst:
        raise fields.refused(burst_key, burst, f"must be given, as {rate_key} is: bits at once")
    if rate < _BITS_PER_BYTE:
        rule = f"must be {_BITS_PER_BYTE} bits per second or more, as {burst_key} is given"
        raise fields.refused(rate_key, rate, rule)
    limit = Limit(rate_bytes_ps=rate // _BITS_PER_BYTE, burst_bytes=burst // _BITS_PER_BYTE)
    if not burst_ticks(limit.rate_bytes_ps, limit.burst_bytes):
        rule = f"must be what {rate_key} passes in a microsecond, or more"
        raise fields.refused(burst_key, burst, rule)
    return limit


def _parse_subnets(fields: Fields, key: str) -> tuple[Subnet, ...]:
    return tuple(
        _parse_subnet(text, fields.where(f"{key}[{position}]"))
        for position, text in enumerate(fields.texts(key))
    )


def _parse_subnet(text: str, where: str) -> Subnet:
    try:
        packed, bits = parse_prefix(canonical_cidr(text))
    except ValueError as error:
        raise broken_rule(where, text, str(error)) from None
    return Subnet(packed=first_address(packed, bits), bits=bits)
