"""The ``host-local`` plugin: addresses from pools of this node, kept in files.

In: a configuration with pools (`host_local_conf`). Out: one address from each pool, reserved on
disk (`host_local_files`) under container and interface. The files are the reference plugin's, so
that a node may change between the two. All or nothing: an ADD that fails has reserved nothing.
"""

from podway.cni.addresses import render_address
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    NO_ADDRESS,
    UNAVAILABLE,
    CniError,
    broken_rule,
)
from podway.cni.results import Dns, Ip, Result
from podway.plugins.host_local_conf import (
    HostLocalConf,
    parse_directory,
    parse_host_local_conf,
    read_dns,
)
from podway.plugins.host_local_files import Reservations
from podway.plugins.host_local_index import Owner
from podway.plugins.host_local_pools import find_range, iter_candidates
from podway.plugins.previous import required_previous_result
from podway.plugins.skeleton import Call, CniPlugin, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.requests import Request
    from podway.plugins.host_local_pools import Pool, Range
    from podway.plugins.orders import OrderedIp


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def add(call: Call) -> Result:
    """Reserve an address from each pool."""
    conf = parse_host_local_conf(call.request)
    dns = read_dns(conf.resolv_conf) if conf.resolv_conf else Dns()
    wanted = _assign(conf)
    owner = _owner(call.request)
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


def delete(call: Call) -> None:
    """Give back what the attachment has; the pools may have changed meanwhile."""
    with Reservations(parse_directory(call.request), may_make=False) as reservations:
        reservations.release(reservations.addresses_of(_owner(call.request)))
        reservations.save()


def check(call: Call) -> None:
    """See that the attachment has an address of each pool, those of prevResult."""
    conf = parse_host_local_conf(call.request)
    owner = _owner(call.request)
    with Reservations(conf.directory, may_make=False) as reservations:
        reserved = reservations.addresses_of(owner)
    result = required_previous_result(call.request)
    given = {ip.address.partition("/")[0] for ip in result.ips}
    for pool in conf.pools:
        mine = [address for address in reserved if _is_in(pool, address)]
        if not given.intersection(mine):
            raise CniError(
                CHECK_FAILED,
                f"{owner.container_id} {owner.ifname} has {mine or 'nothing'} reserved in the pool "
                f"of {pool[0].render(pool[0].first)}, and prevResult {sorted(given)}",
            )


def gc(call: Call) -> None:
    """Give back what belongs to no valid attachment, and files that say nothing sensible."""
    valid = {
        Owner(container_id=each.container_id, ifname=each.ifname)
        for each in call.config.valid_attachments or ()
    }
    # Old versions of the reference plugin wrote no interface.
    valid |= {Owner(container_id=each.container_id, ifname="") for each in valid}
    with Reservations(parse_directory(call.request), may_make=False) as reservations:
        owners = reservations.owners()
        reservations.release(address for address, owner in owners.items() if owner not in valid)
        reservations.save()


def status(call: Call) -> None:
    """See that each pool has a free address."""
    conf = parse_host_local_conf(call.request)
    with Reservations(conf.directory, may_make=False) as reservations:
        taken = reservations.taken()
    for pool in conf.pools:
        if all(address in taken for _, address in iter_candidates(pool, "")):
            raise CniError(UNAVAILABLE, _exhausted(pool))


def _owner(request: "Request") -> Owner:
    return Owner(container_id=request.container_id, ifname=request.ifname)


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


def _refuse_second(reservations: Reservations, owner: Owner) -> None:
    """Refuse what has been added: without a DEL between SPEC 1.1.0, "ADD", forbids it."""
    has = reservations.addresses_of(owner)
    if has:
        raise CniError(
            INVALID_CONFIG,
            f"{owner.container_id} {owner.ifname} has {', '.join(has)} already: call DEL first",
        )


def _reserve(  # noqa: PLR0917 - private, and called once
    reservations: Reservations,
    owner: Owner,
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
    reservations: Reservations, owner: Owner, pool: "Pool", number: int
) -> "tuple[Range, str]":
    for each, address in iter_candidates(pool, reservations.last_reserved(number)):
        if reservations.reserve(address, owner):
            return each, address
    raise CniError(NO_ADDRESS, _exhausted(pool))


def _reserve_wanted(
    reservations: Reservations, owner: Owner, pool: "Pool", wanted: "OrderedIp"
) -> "tuple[Range, str]":
    each = find_range(pool, wanted.packed)
    address = render_address(wanted.packed)
    if each is None or not each.is_usable(int.from_bytes(wanted.packed, "big")):
        rule = "is the gateway, or the first or last address of its subnet"
        raise broken_rule(wanted.where, address, rule)
    if not reservations.reserve(address, owner):
        raise CniError(NO_ADDRESS, f"{wanted.where} = {address!r}: another container has it")
    return each, address


def _exhausted(pool: "Pool") -> str:
    ranges = ", ".join(f"{each.render(each.first)} to {each.render(each.last)}" for each in pool)
    return f"no address is free in {ranges}: end containers, or make the range larger"


def _is_in(pool: "Pool", address: str) -> bool:
    from podway.cni.addresses import parse_address  # noqa: PLC0415

    return find_range(pool, parse_address(address)) is not None


PLUGIN: "Final" = CniPlugin(
    name="host-local",
    about="gives addresses from pools of this node, kept in files",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
    opens_netns=False,
)
