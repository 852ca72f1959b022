"""Names and MAC addresses of the devices that plugins make."""

import posix

from podway.cni.addresses import canonical_mac
from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, broken_rule
from podway.cni.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.requests import Request


def random_veth_name() -> str:
    """Return ``veth`` and eight hexadecimal digits, as the reference plugins name host ends."""
    return f"veth{posix.urandom(4).hex()}"


def requested_mac(request: "Request", configured: str = "") -> str:
    """Return the MAC address asked for, in lower case; "" for none.

    Of several places the first that says something counts, as in the reference plugins:
    ``runtimeConfig.mac``, ``args.cni.mac``, ``MAC`` of CNI_ARGS, *configured* (the plugin's key
    ``mac``, where it has one).

    Raises:
        CniError: INVALID_CONFIG or INVALID_ENVIRONMENT, it is none that a device can have.
    """
    runtime = Fields(request.config.runtime_config, "runtimeConfig", INVALID_CONFIG)
    orders = Fields(request.config.args_cni, "args.cni", INVALID_CONFIG)
    places = (
        (runtime.where("mac"), runtime.text("mac"), INVALID_CONFIG),
        (orders.where("mac"), orders.text("mac"), INVALID_CONFIG),
        ("CNI_ARGS MAC", request.args.get("MAC", ""), INVALID_ENVIRONMENT),
        ("mac", configured, INVALID_CONFIG),
    )
    for where, mac, code in places:
        if mac:
            return checked_mac(mac, where, code)
    return ""


def checked_mac(text: str, where: str, code: int = INVALID_CONFIG) -> str:
    """Return a MAC address that a device can have (is_valid_ether_addr), in lower case.

    Raises:
        CniError: *code*, it is none.
    """
    try:
        mac = canonical_mac(text)
    except ValueError as error:
        raise broken_rule(where, text, str(error), code) from None
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise broken_rule(where, text, "must be a unicast address other than zero", code)
    return mac
