"""Keys that the configurations of several main plugins have: sizes and names of devices.

In: the object of a configuration. Out: checked values. What the kernel would refuse later, or what
it would take for a pattern, is refused here, with field, value and rule.
"""

from podway.cni.errors import INVALID_CONFIG
from podway.cni.fields import Fields
from podway.cni.names import broken_ifname_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import NetConf

# ETH_MIN_MTU and ETH_MAX_MTU, linux/if_ether.h.
MIN_MTU_BYTES: "Final" = 68
MAX_MTU_BYTES: "Final" = 65535


def plugin_fields(config: "NetConf") -> Fields:
    """Return the keys of a configuration for typed reading; what is wrong has number 7."""
    return Fields(config.raw, code=INVALID_CONFIG)


def parse_mtu(fields: Fields) -> int:
    """Return ``mtu`` in bytes, 0 when nothing is asked for.

    Raises:
        CniError: as *fields* raises, it is no size that a device can have.
    """
    mtu_bytes = fields.integer("mtu") or 0
    if mtu_bytes and not MIN_MTU_BYTES <= mtu_bytes <= MAX_MTU_BYTES:
        rule = f"must be 0 (the kernel decides) or {MIN_MTU_BYTES} to {MAX_MTU_BYTES} bytes"
        raise fields.refused("mtu", mtu_bytes, rule)
    return mtu_bytes


def parse_device_name(fields: Fields, key: str) -> str:
    """Return the name of a device, "" when none is given.

    Raises:
        CniError: as *fields* raises, no device can have that name.
    """
    name = fields.text(key)
    rule = broken_ifname_rule(name) if name else ""
    if rule:
        raise fields.refused(key, name, rule)
    return name
