"""ADD of ``tuning``: sets kernel parameters and properties of the container's interface.

In: a call with prevResult. Out: prevResult with the new MAC address and size. What the interface
was is noted before it changes; whatever fails undoes what was done.
"""

from errno import ENOENT

from podway.cni.errors import IO_FAILURE, CniError
from podway.cni.values import replace
from podway.netlink.constants import IFF_ALLMULTI, IFF_PROMISC
from podway.netlink.links import change_link
from podway.netlink.netns import entered
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import carry_out, required_link
from podway.plugins.previous import find_interface, required_previous_result
from podway.plugins.sysctls import read_sysctl, write_sysctl
from podway.plugins.tuning_backups import (
    BackupFile,
    compute_backup,
    compute_restoration,
    flag_change,
)
from podway.plugins.tuning_conf import parse_conf
from podway.plugins.tuning_sysctls import check_allowed
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.requests import Request
    from podway.cni.results import Result
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.skeleton import Call
    from podway.plugins.tuning_backups import Backup
    from podway.plugins.tuning_conf import TuningConf
    from podway.plugins.tuning_sysctls import Sysctl


def add(call: "Call") -> "Result":
    """Set what the configuration asks for; return prevResult with what has changed.

    Raises:
        CniError: no such interface; or a parameter is refused by kernel or administrator.
        NetlinkError: the kernel refuses a property; nothing is left.
    """
    conf = parse_conf(call.request)
    result = required_previous_result(call.request)
    check_allowed(conf.sysctls)
    with entered(call.namespace), Undo() as undo:
        for sysctl in conf.sysctls:
            _set_sysctl(sysctl, undo)
        if conf.changes_link:
            _change_link(call.request, conf, undo)
    return compute_result(result, call.request, conf)


def _set_sysctl(sysctl: "Sysctl", undo: Undo) -> None:
    """Set a parameter of the thread's namespace."""
    before = read_if_readable(sysctl.path)
    try:
        write_sysctl(sysctl.path, sysctl.value)
    except OSError as error:
        reason = f"is refused by the kernel: {error.strerror}"
        if error.errno == ENOENT:
            reason = "is no parameter of this kernel in the container's namespace"
        text = f"sysctl {sysctl.key} = {sysctl.value!r} {reason}"
        raise CniError(IO_FAILURE, text) from None
    if before is not None:
        undo.push(write_sysctl, sysctl.path, before)


def read_if_readable(path: str) -> str | None:
    """Return a parameter, None for one that is not there or can only be written (flush)."""
    try:
        return read_sysctl(path)
    except OSError:
        return None


def _change_link(request: "Request", conf: "TuningConf", undo: Undo) -> None:
    """Change the interface, of the thread's namespace."""
    with NetlinkSocket() as inside:
        link = required_link(inside, request.ifname, request.netns, IO_FAILURE)
        backup, noted = compute_backup(conf, link), BackupFile(conf.data_dir, request)
        was_noted = noted.read() is not None
        noted.write(backup)
        if not was_noted:
            undo.push(noted.remove)
        undo.push(restore, backup, link["index"])
        inside.request(change_link({**compute_change(conf), "index": link["index"]}))


def restore(backup: "Backup", index: int) -> None:
    """Give a device, of the thread's namespace, back what it had.

    Raises:
        NetlinkError: the kernel refuses something.
    """
    with NetlinkSocket() as inside:
        carry_out(inside, [change_link(each) for each in compute_restoration(backup, index)])


def compute_change(conf: "TuningConf") -> "LinkMessage":
    """Return what is to change, without ``index``."""
    change: LinkMessage = {"flags": 0, "change": 0}
    if conf.mac:
        change["address"] = conf.mac
    if conf.mtu_bytes:
        change["mtu"] = conf.mtu_bytes
    if conf.txqlen is not None:
        change["txqlen"] = conf.txqlen
    flags = ((IFF_PROMISC, conf.promisc or None), (IFF_ALLMULTI, conf.allmulti))
    for flag, is_on in flags:
        if is_on is not None:
            one = flag_change(flag, is_on=is_on)
            change["flags"] |= one["flags"]
            change["change"] |= one["change"]
    return change


def compute_result(result: "Result", request: "Request", conf: "TuningConf") -> "Result":
    """Return *result* with the MAC address and size that the interface has now."""
    position = find_interface(result, request.ifname, request.netns)
    if position is None:
        return result
    interfaces = list(result.interfaces)
    told = interfaces[position]
    interfaces[position] = replace(told, mac=conf.mac or told.mac, mtu=conf.mtu_bytes or told.mtu)
    return replace(result, interfaces=tuple(interfaces))
