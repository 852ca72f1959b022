"""CHECK of ``tuning``: are parameters and properties as ADD has set them?

In: a call. Out: nothing, or the first thing that differs. What was not configured is not looked at.
"""

from errno import ENOENT

from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.constants import IFF_ALLMULTI, IFF_PROMISC
from podway.netlink.netns import entered
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import required_link
from podway.plugins.previous import required_previous_result
from podway.plugins.sysctls import read_sysctl
from podway.plugins.tuning_conf import parse_conf
from podway.plugins.tuning_sysctls import check_allowed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.skeleton import Call
    from podway.plugins.tuning_conf import TuningConf
    from podway.plugins.tuning_sysctls import Sysctl


def check(call: "Call") -> None:
    """See that everything is as configured.

    Raises:
        CniError: CHECK_FAILED, something differs.
    """
    conf = parse_conf(call.request)
    required_previous_result(call.request)
    with entered(call.namespace), NetlinkSocket() as inside:
        for sysctl in conf.sysctls:
            _check_sysctl(sysctl)
        link = required_link(inside, call.request.ifname, call.request.netns)
    for what, found, wanted in _comparisons(conf, link):
        if found != wanted:
            text = f"{what} of interface {call.request.ifname} is {found}, must be {wanted}"
            raise CniError(CHECK_FAILED, text)


def status(call: "Call") -> None:
    """See that the configuration is one that ADD would take.

    Raises:
        CniError: INVALID_CONFIG, or a sysctl is not allowed.
    """
    check_allowed(parse_conf(call.request).sysctls)


def _check_sysctl(sysctl: "Sysctl") -> None:
    """See that a parameter of the thread's namespace has its value, however it is spaced."""
    try:
        found = read_sysctl(sysctl.path)
    except OSError as error:
        if error.errno == ENOENT:
            text = f"sysctl {sysctl.key} does not exist"
            raise CniError(CHECK_FAILED, text) from None
        return  # can only be written
    if found.split() != sysctl.value.split():
        text = f"sysctl {sysctl.key} is {found!r}, must be {sysctl.value!r}"
        raise CniError(CHECK_FAILED, text)


def _comparisons(conf: "TuningConf", link: "LinkMessage") -> list[tuple[str, object, object]]:
    """Return what there is to compare: name, as it is, as it must be."""
    flags = link["flags"]
    pairs: list[tuple[str, object, object]] = [
        ("MAC address", link.get("address"), conf.mac or None),
        ("mtu", link["mtu"], conf.mtu_bytes or None),
        ("promisc", bool(flags & IFF_PROMISC), conf.promisc or None),
        ("allmulti", bool(flags & IFF_ALLMULTI), conf.allmulti),
        ("txQLen", link.get("txqlen"), conf.txqlen),
    ]
    return [pair for pair in pairs if pair[2] is not None]
