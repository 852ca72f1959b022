"""What the ``host-local`` plugin reads in its configuration: pools of addresses, and what is asked.

In: a request. Out: one frozen value, every key checked (errors are 7). Keys of ``ipam``, as the
reference plugin's::

    ranges      [[{subnet, rangeStart, rangeEnd, gateway}, ...], ...]: each inner list is a pool of
                alternatives, and the container gets one address from each pool
    subnet ...  the same keys in ``ipam`` itself: a pool of one range, before those of ``ranges``
    routes      [{dst, gw, mtu, advmss, priority, table, scope}]
    dataDir     where reservations are kept; default /var/lib/cni/networks
    resolvConf  a file in the form of /etc/resolv.conf, for ``dns`` of the result

``runtimeConfig.ipRanges`` has pools of its own, before all others. Addresses are integers here,
beside the length of their family in bytes: a pool is counted through, not looked at.
"""

from itertools import pairwise

from podway.cni.addresses import (
    canonical_cidr,
    first_address,
    parse_address,
    parse_prefix,
    render_address,
)
from podway.cni.documents import kind_of
from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.fields import Fields
from podway.cni.results import Route, parse_route
from podway.cni.values import Value
from podway.plugins.host_local_pools import IPV4_BYTES, Range
from podway.plugins.ipam_keys import check_families, ipam_fields, parse_directory, parse_path
from podway.plugins.orders import OrderedIp, check_arguments, ordered_ips

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.requests import Request


class HostLocalConf(Value):
    """The configuration, and what the runtime asks for.

    Attributes:
        directory: of this network's reservations.
        pools: one address is given from each.
        requested: addresses to be given, at most one per pool.
        routes: of the result.
        resolv_conf: path, "" for none.
    """

    directory: str
    pools: tuple[tuple[Range, ...], ...]
    requested: tuple[OrderedIp, ...]
    routes: tuple[Route, ...]
    resolv_conf: str


def parse_host_local_conf(request: "Request") -> HostLocalConf:
    """Return what *request* configures and asks for.

    Raises:
        CniError: INVALID_CONFIG for a key of the configuration, INVALID_ENVIRONMENT for CNI_ARGS.
    """
    check_arguments(request)
    ipam = ipam_fields(request)
    pools = _parse_pools(request, ipam)
    check_families((pool[0].size for pool in pools), request.config.cni_version, "pools")
    return HostLocalConf(
        directory=parse_directory(request),
        pools=pools,
        requested=tuple(ip for ips in ordered_ips(request).values() for ip in ips),
        routes=tuple(parse_route(each) for each in ipam.each("routes")),
        resolv_conf=parse_path(ipam, "resolvConf", ""),
    )


def _parse_pools(request: "Request", ipam: Fields) -> tuple[tuple[Range, ...], ...]:
    runtime = Fields(request.config.runtime_config, "runtimeConfig", INVALID_CONFIG)
    pools = [_parse_pool(each) for each in _lists(runtime, "ipRanges")]
    if ipam.value("subnet") is not None:
        pools.append(_parse_pool((ipam,)))
    for key in ("rangeStart", "rangeEnd", "gateway"):
        ipam.text(key)  # means nothing without a subnet, as in the reference plugin, but is text
    pools += [_parse_pool(each) for each in _lists(ipam, "ranges")]
    if not pools:
        raise CniError(INVALID_CONFIG, "ipam has no range of addresses: give ranges, or subnet")
    for position, pool in enumerate(pools):
        for other in pools[:position]:
            _check_apart((*other, *pool), f"pool {position}")
    return tuple(pools)


def _lists(fields: Fields, key: str) -> "list[tuple[Fields, ...]]":
    """Return an array of arrays of objects."""
    value = fields.value(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise fields.refused(key, value, f"must be an array, is {kind_of(value)}")
    names = [f"{key}[{position}]" for position in range(len(value))]
    inner = Fields(dict(zip(names, value, strict=True)), fields.path, INVALID_CONFIG)
    return [inner.each(name) for name in names]


def _parse_pool(alternatives: "tuple[Fields, ...]") -> tuple[Range, ...]:
    if not alternatives:
        raise CniError(INVALID_CONFIG, "a pool in ranges is empty: give it a subnet")
    pool = tuple(_parse_range(each) for each in alternatives)
    if len({each.size for each in pool}) > 1:
        raise CniError(INVALID_CONFIG, f"{alternatives[0].path}: a pool has one address family")
    _check_apart(pool, alternatives[0].path)
    return pool


def _check_apart(ranges: tuple[Range, ...], where: str) -> None:
    """Refuse ranges that overlap: an address would belong to two pools."""
    ordered = sorted(ranges, key=lambda each: (each.size, each.first))
    for one, other in pairwise(ordered):
        if one.size == other.size and other.first <= one.last:
            mine = f"{one.render(one.first)} to {one.render(one.last)}"
            rule = f"{other.render(other.first)} to {other.render(other.last)}"
            raise CniError(INVALID_CONFIG, f"{where}: range {mine} overlaps {rule}")


def _parse_range(fields: Fields) -> Range:
    network, bits, size = _parse_subnet(fields)
    hosts = (1 << size * 8 - bits) - 1
    # IPv4 has a broadcast address at the end.
    last = network + hosts - (1 if size == IPV4_BYTES else 0)
    parsed = Range(
        size=size,
        bits=bits,
        network=network,
        first=_parse_number(fields, "rangeStart", size, network + 1),
        last=_parse_number(fields, "rangeEnd", size, last),
        gateway=_parse_number(fields, "gateway", size, network + 1),
    )
    for key, number in (("rangeStart", parsed.first), ("rangeEnd", parsed.last)):
        if not network <= number <= network + hosts:
            raise fields.refused(key, fields.text(key), f"lies outside {fields.text('subnet')}")
    if parsed.first > parsed.last:
        value = parsed.render(parsed.last)
        raise fields.refused("rangeEnd", value, f"lies before {parsed.render(parsed.first)}")
    return parsed


def _parse_subnet(fields: Fields) -> tuple[int, int, int]:
    """Return first address, prefix length, and length of an address in bytes."""
    text = fields.text("subnet")
    try:
        packed, bits = parse_prefix(canonical_cidr(text))
    except ValueError as error:
        raise fields.refused("subnet", text, str(error)) from None
    if bits > len(packed) * 8 - 2:
        raise fields.refused("subnet", text, "is too small to give addresses from")
    first = first_address(packed, bits)
    if first != packed:
        rule = f"has host bits set; the network is {render_address(first)}/{bits}"
        raise fields.refused("subnet", text, rule)
    return int.from_bytes(packed, "big"), bits, len(packed)


def _parse_number(fields: Fields, key: str, size: int, default: int) -> int:
    text = fields.text(key)
    if not text:
        return default
    try:
        packed = parse_address(text)
    except ValueError as error:
        raise fields.refused(key, text, str(error)) from None
    if len(packed) != size:
        raise fields.refused(key, text, f"must be of the family of {fields.text('subnet')}")
    return int.from_bytes(packed, "big")
