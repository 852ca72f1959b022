"""What STATUS asks: could an attachment be made here?

In: a step that an ADD would take, or a kind of device. Out: nothing, or the error of STATUS. Called
by the plugins' STATUS.
"""

from errno import EOPNOTSUPP

from podway.cni.errors import UNAVAILABLE, CniError
from podway.netlink.errors import NetlinkError
from podway.netlink.links import create_link
from podway.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

_GROUP_MAC: "Final" = "01:00:00:00:00:00"


def check_step(step: "Callable[P, T]", *args: "P.args", **kwargs: "P.kwargs") -> "T":
    """Take a step of an ADD; return what it returns.

    Raises:
        CniError: UNAVAILABLE, the step fails.
    """
    try:
        return step(*args, **kwargs)
    except CniError as error:
        raise CniError(UNAVAILABLE, error.msg, error.details) from error
    except NetlinkError as error:
        raise CniError(UNAVAILABLE, str(error)) from error


def check_device_kind(kind: str) -> None:
    """See that this kernel has devices of *kind*.

    It is asked for one that cannot be made: it has a group's address, and no master or table.

    Raises:
        CniError: UNAVAILABLE, it has none.
    """
    device = create_link({"ifname": kind, "address": _GROUP_MAC, "linkinfo": {"kind": kind}})
    with NetlinkSocket() as host:
        (error,) = host.batch([device])
    if error and error.errno == EOPNOTSUPP:
        raise CniError(UNAVAILABLE, f"this kernel has no {kind} devices: load its module")
