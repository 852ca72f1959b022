"""DEL and GC of the ``host-local`` plugin.

In: a call. Out: nothing; addresses are free again. Called by `host_local`. Neither looks at the
pools, which may have changed since the ADD.
"""

from podway.plugins.host_local_files import Reservations, owner_of
from podway.plugins.host_local_index import Owner
from podway.plugins.ipam_keys import parse_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.skeleton import Call


def delete(call: "Call") -> None:
    """Give back what the attachment has; the pools may have changed meanwhile."""
    with Reservations(parse_directory(call.request), may_make=False) as reservations:
        reservations.release(reservations.addresses_of(owner_of(call.request)))
        reservations.save()


def gc(call: "Call") -> None:
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
