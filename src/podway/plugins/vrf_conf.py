"""The configuration of ``vrf``, and the VRF device as it is in a container.

In: a request, a device. Out: frozen values, or error 7.
"""

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.values import Value
from podway.plugins.container_links import link_kind
from podway.plugins.link_fields import parse_device_name, plugin_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import Request
    from podway.netlink.link_messages import LinkMessage

KIND: "Final" = "vrf"
_MAX_TABLE: "Final" = (1 << 32) - 1


class VrfConf(Value):
    """What the configuration asks for.

    Attributes:
        name: of the VRF device.
        table: of its routes; None for the one it has, or a free one.
    """

    name: str
    table: int | None


def parse_conf(request: "Request") -> VrfConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(request.config)
    name = parse_device_name(fields, "vrfname")
    if not name:
        raise CniError(INVALID_CONFIG, "vrfname is missing: name the VRF device")
    if name == request.ifname:
        raise fields.refused("vrfname", name, "must be another name than the interface's")
    return VrfConf(name=name, table=fields.integer_within("table", 0, _MAX_TABLE) or None)


def table_of(vrf: "LinkMessage") -> int:
    """Return the table of a VRF device."""
    table: int = vrf["linkinfo"]["data"]["table"]
    return table


def check_vrf(vrf: "LinkMessage", conf: VrfConf, code: int) -> None:
    """See that a device is a VRF with the table of the configuration.

    Raises:
        CniError: *code*, it is not.
    """
    if link_kind(vrf) != KIND:
        found = link_kind(vrf) or "hardware"
        raise CniError(code, f"vrfname = {conf.name!r}: is a device of kind {found} in there")
    if conf.table is not None and table_of(vrf) != conf.table:
        text = f"table = {conf.table}: VRF {conf.name} has table {table_of(vrf)}"
        raise CniError(code, text)
