"""ADD of the ``host-local`` plugin.

In: a call. Out: one address from each pool, reserved on disk. Called by `host_local`. All or
nothing: an ADD that fails has reserved nothing.
"""

from podway.cni.addresses import render_address
from podway.cni.errors import INVALID_CONFIG, NO_ADDRESS, CniError, broken_rule
from podway.cni.results import Dns, Ip, Result
from podway.plugins.host_local_conf import HostLocalConf, parse_host_local_conf
from podway.plugins.host_local_files import Reservations, owner_of
from podway.plugins.host_local_pools import find_range, iter_candidates, render_exhausted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.host_local_index import Owner
    from podway.plugins.host_local_pools import Pool, Range
    from podway.plugins.orders import OrderedIp
    from podway.plugins.skeleton import Call


def add(call: "Call") -> Result:
    """Reserve an address from each pool."""
    conf = parse_host_local_conf(call.request)
    dns = _read_dns(conf)
    wanted = _assign(conf)
    owner = owner_of(call.request)
    with Reservations(conf.directory, may_make=True) as reservations:
        _refuse_second(reservations, owner)
        reserved: list[str] = []
        try:
            ips = tuple(
                _reserve(reservations, owner, pool, number, wanted[number], reserved)
                for number, pool in enumerate(conf.pools)
            )
        except Exception:
            reservations.release(reserved)
            raise
        finally:
            reservations.save()
    return Result(ips=ips, routes=conf.routes, dns=dns)


def _read_dns(conf: HostLocalConf) -> Dns:
    if not conf.resolv_conf:
        return Dns()
    from podway.plugins.resolv_conf import read_dns  # noqa: PLC0415 - few name a file

    return read_dns(conf.resolv_conf)


def _assign(conf: HostLocalConf) -> "list[OrderedIp | None]":
    """Return for each pool the address asked for in it.

    Raises:
        CniError: an address is in no pool, or a pool is asked for two.
    """
    wanted: list[OrderedIp | None] = [None] * len(conf.pools)
    for ip in dict.fromkeys(conf.requested):
        text = render_address(ip.packed)
        number = next((n for n, pool in enumerate(conf.pools) if find_range(pool, ip.packed)), None)
        if number is None:
            raise broken_rule(ip.where, text, "lies in none of the ranges of ipam")
        first = wanted[number]
        if first is not None and first.packed != ip.packed:
            rule = f"lies in the same pool as {render_address(first.packed)}, which gives one"
            raise broken_rule(ip.where, text, rule)
        wanted[number] = ip
    return wanted


def _refuse_second(reservations: Reservations, owner: "Owner") -> None:
    """Refuse what has been added: without a DEL between SPEC 1.1.0, "ADD", forbids it."""
    has = reservations.addresses_of(owner)
    if has:
        raise CniError(
            INVALID_CONFIG,
            f"{owner.container_id} {owner.ifname} has {', '.join(has)} already: call DEL first",
        )


def _reserve(  # noqa: PLR0917 - private, and called once
    reservations: Reservations,
    owner: "Owner",
    pool: "Pool",
    number: int,
    wanted: "OrderedIp | None",
    reserved: list[str],
) -> Ip:
    """Reserve one address of *pool*, note it in *reserved*, and return it."""
    if wanted is None:
        each, address = _reserve_next(reservations, owner, pool, number)
    else:
        each, address = _reserve_wanted(reservations, owner, pool, wanted)
    reserved.append(address)
    reservations.note_last(number, address)
    return Ip(address=f"{address}/{each.bits}", gateway=each.render(each.gateway))


def _reserve_next(
    reservations: Reservations, owner: "Owner", pool: "Pool", number: int
) -> "tuple[Range, str]":
    for each, address in iter_candidates(pool, reservations.last_reserved(number)):
        if reservations.reserve(address, owner):
            return each, address
    raise CniError(NO_ADDRESS, render_exhausted(pool))


def _reserve_wanted(
    reservations: Reservations, owner: "Owner", pool: "Pool", wanted: "OrderedIp"
) -> "tuple[Range, str]":
    each = find_range(pool, wanted.packed)
    address = render_address(wanted.packed)
    if each is None or not each.is_usable(int.from_bytes(wanted.packed, "big")):
        rule = "is the gateway, or the first or last address of its subnet"
        raise broken_rule(wanted.where, address, rule)
    if not reservations.reserve(address, owner):
        raise CniError(NO_ADDRESS, f"{wanted.where} = {address!r}: another container has it")
    return each, address
