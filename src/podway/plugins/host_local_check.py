"""CHECK and STATUS of the ``host-local`` plugin.

In: a call. Out: nothing, or what is missing. Called by `host_local`.
"""

import posix
from errno import ENOTDIR, EROFS

from podway.cni.addresses import parse_address
from podway.cni.errors import CHECK_FAILED, UNAVAILABLE, CniError
from podway.plugins.host_local_conf import parse_host_local_conf
from podway.plugins.host_local_files import Reservations, owner_of
from podway.plugins.host_local_pools import find_range, iter_candidates, render_exhausted
from podway.plugins.previous import required_previous_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.plugins.skeleton import Call

_DIRECTORY: "Final" = 0o040000  # S_IFDIR, inode(7)


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
    """See that each pool has a free address, and that it could be noted down."""
    conf = parse_host_local_conf(call.request)
    try:
        _check_writable(conf.directory)
        with Reservations(conf.directory, may_make=False) as reservations:
            taken = reservations.taken()
    except OSError as error:
        text = f"reservations in {conf.directory!r} cannot be kept: {error.strerror}"
        raise CniError(UNAVAILABLE, text) from error
    for pool in conf.pools:
        if all(address in taken for _, address in iter_candidates(pool, "")):
            raise CniError(UNAVAILABLE, render_exhausted(pool))


def _check_writable(directory: str) -> None:
    """See that files can be made in *directory*, or in what is there of the way to it.

    Raises:
        OSError: they cannot.
    """
    while not posix.access(directory, posix.F_OK):
        directory = directory.rpartition("/")[0] or "/"
    if not posix.access(directory, posix.W_OK | posix.X_OK):
        raise OSError(EROFS, posix.strerror(EROFS))
    if not posix.stat(directory).st_mode & _DIRECTORY:
        raise OSError(ENOTDIR, posix.strerror(ENOTDIR))
