"""DEL and GC of ``tuning``: the interface is as it was, and no file is left.

In: a call, whose namespace may be gone. Out: nothing. What the kernel does not take back (a device
below has become smaller, say) is told on standard error and is no failure: the next plugin of the
list is to remove the interface, and nothing else of the attachment may wait for that.

Kernel parameters stay, as with the reference plugin: they are the container's.
"""

from podway.netlink.links import change_link
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import find_link
from podway.plugins.process import complain
from podway.plugins.tuning_backups import BackupFile, compute_restoration, remove_garbage
from podway.plugins.tuning_conf import parse_data_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.skeleton import Call
    from podway.plugins.tuning_backups import Backup


def delete(call: "Call") -> None:
    """Give the interface back its properties, and remove the file.

    Raises:
        CniError: INVALID_CONFIG, ``dataDir`` is no path.
        OSError: the file can be read or removed by nobody.
    """
    noted = BackupFile(parse_data_dir(call.request), call.request)
    backup = noted.read()
    if backup is not None and call.netns is not None:
        _give_back(call.netns, call.request.ifname, backup)
    noted.remove()


def _give_back(netns: int, ifname: str, backup: "Backup") -> None:
    with NetlinkSocket(netns_fd=netns) as inside:
        link = find_link(inside, ifname)
        if link is None:
            return
        changes = compute_restoration(backup, link["index"])
        for error in inside.batch([change_link(each) for each in changes]):
            if error is not None and not error.is_not_found:
                complain(f"interface {ifname} is not as it was: {error}")


def gc(call: "Call") -> None:
    """Remove the files of attachments that are not valid any more.

    Raises:
        CniError: INVALID_CONFIG, ``dataDir`` is no path.
        OSError: a file cannot be removed.
    """
    remove_garbage(parse_data_dir(call.request), call.config)
