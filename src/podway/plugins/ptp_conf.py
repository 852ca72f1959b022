"""The configuration of the ``ptp`` plugin.

In: a call. Out: `PtpConf`, checked.
"""

from podway.cni.values import Value
from podway.plugins.link_fields import parse_mtu, plugin_fields
from podway.plugins.masquerade import parse_backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.plugins.skeleton import Call

KIND: "Final" = "veth"


class PtpConf(Value):
    """What the configuration asks for.

    Attributes:
        masquerades: what goes to the outside bears the node's address.
        backend: of netfilter, "" where the system decides.
        mtu_bytes: of both ends, 0 for the kernel's 1500.
    """

    masquerades: bool
    backend: str
    mtu_bytes: int


def parse_conf(call: "Call") -> PtpConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(call.config)
    return PtpConf(
        masquerades=fields.boolean("ipMasq"),
        backend=parse_backend(fields),
        mtu_bytes=parse_mtu(fields),
    )
