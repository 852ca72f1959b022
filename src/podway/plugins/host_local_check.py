"""CHECK and STATUS of the ``host-local`` plugin.

In: a call. Out: nothing, or what is missing. Called by `host_local`.
"""

from podway.cni.addresses import parse_address
from podway.cni.errors import CHECK_FAILED, UNAVAILABLE, CniError
from podway.plugins.host_local_conf import parse_host_local_conf
from podway.plugins.host_local_files import Reservations, owner_of
from podway.plugins.host_local_pools import find_range, iter_candidates, render_exhausted
from podway.plugins.previous import required_previous_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.skeleton import Call


def check(call: "Call") -> None:
    """See that the attachment has an address of each pool, those of prevResult."""
    conf = parse_host_local_conf(call.request)
    owner = owner_of(call.request)
    with Reservations(conf.directory, may_make=False) as reservations:
        reserved = reservations.addresses_of(owner)
    result = required_previous_result(call.request)
    given = {ip.address.partition("/")[0] for ip in result.ips}
    for pool in conf.pools:
        mine = [address for address in reserved if find_range(pool, parse_address(address))]
        if not given.intersection(mine):
            raise CniError(
                CHECK_FAILED,
                f"{owner.container_id} {owner.ifname} has {mine or 'nothing'} reserved in the pool "
                f"of {pool[0].render(pool[0].first)}, and prevResult {sorted(given)}",
            )


def status(call: "Call") -> None:
    """See that each pool has a free address."""
    conf = parse_host_local_conf(call.request)
    with Reservations(conf.directory, may_make=False) as reservations:
        taken = reservations.taken()
    for pool in conf.pools:
        if all(address in taken for _, address in iter_candidates(pool, "")):
            raise CniError(UNAVAILABLE, render_exhausted(pool))
