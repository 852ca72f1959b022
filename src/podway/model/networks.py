"""The cluster network as its operator configures it: flannel's net-conf.json, checked and typed.

In: the JSON text (keys match without regard to case, as in Go). Out: a `Network`, or a
`ConfigError` that names field, value and rule. Unknown keys pass, so that one file can serve
flannel and podway; a known key with a wrong value never does.

podway's own keys: ``Attach`` ("bridge" or "routed"), ``Masquerade`` (bool) and
``NonMasqueradeCIDRs`` (prefixes outside the network that see pods' own addresses).
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from podway.errors import ConfigError
from podway.model.addresses import Family, IPNetwork, family_of, prefix_contains
from podway.model.backend_keys import parse_backend
from podway.model.backends import (
    AllocConfig,
    BackendConfig,
    ExtensionConfig,
    HostGwConfig,
    IpipConfig,
    UdpConfig,
    VxlanConfig,
    WireguardConfig,
)
from podway.model.fields import Fields

__all__ = [
    "MIN_MTU_IPV6",
    "AllocConfig",
    "Attach",
    "BackendConfig",
    "ExtensionConfig",
    "HostGwConfig",
    "IpipConfig",
    "Network",
    "Pool",
    "UdpConfig",
    "VxlanConfig",
    "WireguardConfig",
    "parse_network",
    "parse_prefix",
]

Attach: TypeAlias = Literal["bridge", "routed"]
MIN_MTU_IPV6 = 1280
_PREFIX = re.compile(r"[0-9A-Fa-f.:]+/[0-9]{1,3}")


class Pool(Struct, frozen=True, kw_only=True):
    """One family of the network and how it is cut into node subnets.

    Attributes:
        prefix: the whole of it.
        subnet_len: prefix length of one node's subnet.
        subnet_min: first subnet that may be leased.
        subnet_max: last subnet that may be leased.
    """

    prefix: IPNetwork
    subnet_len: int
    subnet_min: IPNetwork
    subnet_max: IPNetwork

    @property
    def family(self) -> Family:
        """Family of the pool."""
        return family_of(self.prefix)


class Network(Struct, frozen=True, kw_only=True):
    """A cluster network: one pool per family, one backend, and what leaves it masqueraded."""

    pools: tuple[Pool, ...]
    backend: BackendConfig
    attach: Attach = "bridge"
    masquerade: bool = True
    non_masquerade: tuple[IPNetwork, ...] = ()

    def pool(self, family: Family) -> Pool | None:
        """Return the pool of *family*, or None where the network has none."""
        return next((pool for pool in self.pools if pool.family is family), None)

    @property
    def backend_name(self) -> str:
        """The backend's name, as in ``Backend.Type``."""
        return str(self.backend.__struct_config__.tag)


def parse_network(text: bytes | str) -> Network:
    """Return the network that net-conf.json *text* describes.

    Raises:
        ConfigError: the text is no JSON object, or a value breaks its rule.
    """
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigError("net-conf.json", _shortened(text), f"must be JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError("net-conf.json", _shortened(text), "must be one JSON object")
    fields = Fields(document)
    pools, backend = _parse_pools(fields), parse_backend(fields.child("Backend"))
    if isinstance(backend, IpipConfig) and any(pool.family is Family.IPV6 for pool in pools):
        rule = "ipip carries IPv4 alone: leave it false, or take vxlan, wireguard or host-gw"
        raise ConfigError("EnableIPv6", True, rule)  # noqa: FBT003
    return Network(
        pools=pools,
        backend=backend,
        attach=_parse_attach(fields),
        masquerade=fields.flag("Masquerade", default=True),
        non_masquerade=_parse_prefixes(fields, "NonMasqueradeCIDRs"),
    )


def _shortened(text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _parse_attach(fields: Fields) -> Attach:
    match fields.text("Attach", "bridge"):
        case "bridge":
            return "bridge"
        case "routed":
            return "routed"
        case other:
            raise ConfigError("Attach", other, 'must be "bridge" or "routed"')


def _parse_pools(fields: Fields) -> tuple[Pool, ...]:
    pools = []
    if fields.flag("EnableIPv4", default=True):
        pools.append(_parse_pool(fields, "", Family.IPV4))
    if fields.flag("EnableIPv6", default=False):
        pools.append(_parse_pool(fields, "IPv6", Family.IPV6))
    if not pools:
        raise ConfigError("EnableIPv4", False, "IPv4, IPv6 or both must be enabled")  # noqa: FBT003
    return tuple(pools)


def _parse_pool(fields: Fields, mark: str, family: Family) -> Pool:
    name = f"{mark}Network"
    text = fields.raw(name)
    if text is None:
        enable = "EnableIPv6" if family is Family.IPV6 else "EnableIPv4"
        raise ConfigError(name, None, f"must be an {family.label} prefix while {enable} is true")
    prefix = parse_prefix(name, text, family)
    subnet_len = _parse_subnet_len(fields, f"{mark}SubnetLen", prefix)
    first, last = _subnet_bounds(prefix, subnet_len)
    low = _parse_bound(fields, f"{mark}SubnetMin", prefix, subnet_len, first)
    high = _parse_bound(fields, f"{mark}SubnetMax", prefix, subnet_len, last)
    if int(low.network_address) > int(high.network_address):
        rule = f"must not be above {mark}SubnetMax ({high.network_address})"
        raise ConfigError(f"{mark}SubnetMin", str(low.network_address), rule)
    return Pool(prefix=prefix, subnet_len=subnet_len, subnet_min=low, subnet_max=high)


def parse_prefix(field: str, value: object, family: Family | None = None) -> IPNetwork:
    """Return *value* as a prefix of *family* (or of either), without host bits.

    Raises:
        ConfigError: with *field*, for anything else.
    """
    rule = f"must be an {family.label} prefix" if family else "must be a prefix"
    example = "fd00:10:244::/48" if family is Family.IPV6 else "10.244.0.0/16"
    # ip_network would also take a zone (fd00::%eth0/48) and a mask for a length; Go takes neither.
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise ConfigError(field, value, f"{rule} such as {example}")
    try:
        prefix = ip_network(value)
    except ValueError as error:
        raise ConfigError(field, value, f"{rule} such as {example}: {error}") from error
    if family is not None and family_of(prefix) is not family:
        raise ConfigError(field, value, f"{rule} such as {example}")
    return prefix


def _parse_subnet_len(fields: Fields, name: str, prefix: IPNetwork) -> int:
    """Apply flannel's rule: at least four subnets, each with room for a gateway and pods."""
    ipv4 = isinstance(prefix, IPv4Network)
    longest, usual = (30, 24) if ipv4 else (126, 64)
    shortest = prefix.prefixlen + 2
    if shortest > longest:
        network = name.replace("SubnetLen", "Network")
        raise ConfigError(network, str(prefix), f"must be /{longest - 2} or larger")
    return fields.number(name, max(usual, shortest), shortest, longest)


def _subnet_bounds(prefix: IPNetwork, subnet_len: int) -> tuple[IPNetwork, IPNetwork]:
    """Return the first and last leasable subnet; the very first of a network is left out."""
    step = 1 << (prefix.max_prefixlen - subnet_len)
    start, end = int(prefix.network_address), int(prefix.broadcast_address) + 1
    return _subnet_at(prefix, start + step, subnet_len), _subnet_at(prefix, end - step, subnet_len)


def _subnet_at(prefix: IPNetwork, number: int, subnet_len: int) -> IPNetwork:
    if isinstance(prefix, IPv4Network):
        return IPv4Network((number, subnet_len))
    return IPv6Network((number, subnet_len))


def _parse_bound(
    fields: Fields, name: str, prefix: IPNetwork, subnet_len: int, default: IPNetwork
) -> IPNetwork:
    value = fields.raw(name)
    if value is None:
        return default
    family = family_of(prefix)
    text = f"{value}/{subnet_len}" if isinstance(value, str) and "/" not in value else None
    try:
        subnet = parse_prefix(name, text, family)
    except ConfigError as error:
        rule = f"must be the first address of a /{subnet_len} subnet of {prefix}"
        raise ConfigError(name, value, rule) from error
    if not prefix_contains(prefix, subnet):
        raise ConfigError(name, value, f"must lie in {prefix}")
    return subnet


def _parse_prefixes(fields: Fields, name: str) -> tuple[IPNetwork, ...]:
    values = fields.raw(name)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise ConfigError(name, values, "must be a list of prefixes")
    return tuple(parse_prefix(f"{name}[{i}]", value) for i, value in enumerate(values))
