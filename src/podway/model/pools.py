"""The prefixes of a network and how they are cut into nodes' subnets: flannel's keys and rules.

In: the fields of net-conf.json. Out: `Pool`s, or a `ConfigError` with field, value and rule.

flannel knows one prefix per family (``Network``, ``IPv6Network``). ``Networks`` is podway's own: a
list of further ones, each with keys of flannel's names. They are used up in that order, and one
with ``Drain`` is only there for those who have a lease in it still::

    "Network": "10.245.0.0/16",
    "Networks": ["10.246.0.0/16", {"Network": "10.244.0.0/16", "SubnetLen": 24, "Drain": true}]
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import combinations
from typing import Any

from msgspec import Struct

from podway.errors import ConfigError
from podway.model.addresses import Family, IPNetwork, family_of, prefix_contains
from podway.model.fields import Fields

_KEYS = ("Network", "SubnetLen", "SubnetMin", "SubnetMax")
_PREFIX = re.compile(r"[0-9A-Fa-f.:]+/[0-9]{1,3}")


class Pool(Struct, frozen=True, kw_only=True):
    """One prefix of the network and how it is cut into node subnets.

    Attributes:
        prefix: the whole of it.
        subnet_len: prefix length of one node's subnet.
        subnet_min: first subnet that may be leased.
        subnet_max: last subnet that may be leased.
        drain: nobody gets a subnet here who has none; who has one keeps it while it is in use.
    """

    prefix: IPNetwork
    subnet_len: int
    subnet_min: IPNetwork
    subnet_max: IPNetwork
    drain: bool = False

    @property
    def family(self) -> Family:
        """Family of the pool."""
        return family_of(self.prefix)

    @property
    def first(self) -> int:
        """Number of the first address that may be leased."""
        return int(self.subnet_min.network_address)

    @property
    def last(self) -> int:
        """Number of the first address of the last subnet that may be leased."""
        return int(self.subnet_max.network_address)

    @property
    def step(self) -> int:
        """Addresses in one subnet."""
        return 1 << (self.family.bits - self.subnet_len)

    @property
    def room(self) -> int:
        """How many subnets may be leased."""
        return (self.last - self.first) // self.step + 1

    def subnet_at(self, number: int) -> IPNetwork:
        """Return the subnet that begins with the address *number*."""
        return _subnet_at(self.family, number, self.subnet_len)


def parse_pools(fields: Fields) -> tuple[Pool, ...]:
    """Return the pools of both families, IPv4 first. Raises `ConfigError`."""
    pools = []
    for mark in ("", "IPv6"):  # a family that is left out may be described all the same
        fields.declare(*(f"{mark}{name}" for name in _KEYS))
    if fields.flag("EnableIPv4", default=True):
        pools.append(_parse_first(fields, "", Family.IPV4))
    if fields.flag("EnableIPv6", default=False):
        pools.append(_parse_first(fields, "IPv6", Family.IPV6))
    if not pools:
        raise ConfigError("EnableIPv4", False, "IPv4, IPv6 or both must be enabled")  # noqa: FBT003
    pools += _parse_further(fields, {pool.family for pool in pools})
    for one, other in combinations(pools, 2):
        if prefix_contains(one.prefix, other.prefix) or prefix_contains(other.prefix, one.prefix):
            raise ConfigError("Networks", str(other.prefix), f"must not overlap {one.prefix}")
    return tuple(sorted(pools, key=lambda pool: pool.family))


def _parse_first(fields: Fields, mark: str, family: Family) -> Pool:
    name = f"{mark}Network"
    text = fields.raw(name)
    if text is None:
        enable = "EnableIPv6" if family is Family.IPV6 else "EnableIPv4"
        raise ConfigError(name, None, f"must be an {family.label} prefix while {enable} is true")
    return _parse_pool(fields, mark, parse_prefix(name, text, family))


def _parse_further(fields: Fields, families: set[Family]) -> Iterator[Pool]:
    values = fields.raw("Networks")
    if values is None:
        return
    if not isinstance(values, list):
        raise ConfigError("Networks", values, "must be a list of prefixes, or of objects with them")
    for index, value in enumerate(values):
        entry = _entry(fields, f"Networks[{index}]", value)
        name = entry.path("Network")
        prefix = parse_prefix(name, entry.raw("Network"))
        if family_of(prefix) not in families:
            label = family_of(prefix).label
            raise ConfigError(name, str(prefix), f"is {label}, which Enable{label} leaves out")
        yield _parse_pool(entry, "", prefix, drain=entry.flag("Drain", default=False))


def _entry(fields: Fields, path: str, value: object) -> Fields:
    """Return the fields of one of ``Networks``: an object, or a prefix alone."""
    if isinstance(value, str):
        return fields.inner({"Network": value}, path)
    if not isinstance(value, dict):
        raise ConfigError(path, value, "must be a prefix, or an object with Network")
    return fields.inner(value, path)


def _parse_pool(fields: Fields, mark: str, prefix: IPNetwork, *, drain: bool = False) -> Pool:
    subnet_len = _parse_subnet_len(fields, f"{mark}SubnetLen", prefix)
    first, last = _subnet_bounds(prefix, subnet_len)
    low = _parse_bound(fields, f"{mark}SubnetMin", prefix, subnet_len, first)
    high = _parse_bound(fields, f"{mark}SubnetMax", prefix, subnet_len, last)
    if int(low.network_address) > int(high.network_address):
        rule = f"must not be above {mark}SubnetMax ({high.network_address})"
        raise ConfigError(fields.path(f"{mark}SubnetMin"), str(low.network_address), rule)
    return Pool(prefix=prefix, subnet_len=subnet_len, subnet_min=low, subnet_max=high, drain=drain)


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
        network = fields.path(name.replace("SubnetLen", "Network"))
        raise ConfigError(network, str(prefix), f"must be /{longest - 2} or larger")
    return fields.number(name, max(usual, shortest), shortest, longest)


def _subnet_bounds(prefix: IPNetwork, subnet_len: int) -> tuple[IPNetwork, IPNetwork]:
    """Return the first and last leasable subnet; the very first of a network is left out."""
    family = family_of(prefix)
    step = 1 << (family.bits - subnet_len)
    start, end = int(prefix.network_address), int(prefix.broadcast_address) + 1
    return _subnet_at(family, start + step, subnet_len), _subnet_at(family, end - step, subnet_len)


def _subnet_at(family: Family, number: int, subnet_len: int) -> IPNetwork:
    if family is Family.IPV4:
        return IPv4Network((number, subnet_len))
    return IPv6Network((number, subnet_len))


def _parse_bound(
    fields: Fields, name: str, prefix: IPNetwork, subnet_len: int, default: IPNetwork
) -> IPNetwork:
    value = fields.raw(name)
    if value is None:
        return default
    path, family = fields.path(name), family_of(prefix)
    text = f"{value}/{subnet_len}" if isinstance(value, str) and "/" not in value else None
    try:
        subnet = parse_prefix(path, text, family)
    except ConfigError as error:
        rule = f"must be the first address of a /{subnet_len} subnet of {prefix}"
        raise ConfigError(path, value, rule) from error
    if not prefix_contains(prefix, subnet):
        raise ConfigError(path, value, f"must lie in {prefix}")
    return subnet


def render_pools(pools: tuple[Pool, ...]) -> Mapping[str, Any]:
    """Return the fields that say all of *pools*, as `parse_pools` reads them."""
    firsts = {pool.family: pool for pool in reversed(pools)}
    document: dict[str, Any] = {"EnableIPv4": False, "EnableIPv6": False}
    for family, pool in firsts.items():
        mark = "IPv6" if family is Family.IPV6 else ""
        document[f"Enable{family.label}"] = True
        document |= {f"{mark}{name}": value for name, value in _render_pool(pool).items()}
    further = [pool for pool in pools if pool not in firsts.values()]
    if further:
        document["Networks"] = [{**_render_pool(each), "Drain": each.drain} for each in further]
    return document


def _render_pool(pool: Pool) -> dict[str, Any]:
    return {
        "Network": str(pool.prefix),
        "SubnetLen": pool.subnet_len,
        "SubnetMin": str(pool.subnet_min.network_address),
        "SubnetMax": str(pool.subnet_max.network_address),
    }
