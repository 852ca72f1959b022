"""``dns`` of a network configuration: what the container's resolver should know.

In: a configuration. Out: a `Dns` for the result. The kernel hears nothing of it; the runtime writes
the container's resolv.conf. macvlan, ipvlan, vlan, tap and host-device return it in place of what
IPAM says, bridge and ptp only where it says something.
"""

from podway.cni.errors import INVALID_CONFIG
from podway.cni.fields import Fields
from podway.cni.results import parse_dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.requests import NetConf
    from podway.cni.results import Dns


def configured_dns(config: "NetConf") -> "Dns":
    """Return ``dns`` of *config*, empty without one.

    Raises:
        CniError: INVALID_CONFIG, a key has the wrong type.
    """
    return parse_dns(Fields(config.raw, code=INVALID_CONFIG).fields("dns"))
