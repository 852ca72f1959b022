"""What the ``bridge`` plugin reads in its configuration.

In: a request. Out: one frozen value, every key checked (errors are 7). Keys and defaults are the
reference plugin's; ``docs/reference/cni/bridge.md`` explains them.
"""

from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.cni.names import broken_ifname_rule
from podway.cni.results import Dns
from podway.cni.values import Value
from podway.plugins.delegation import ipam_type
from podway.plugins.dns import configured_dns
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.macs import requested_mac
from podway.plugins.masquerade import parse_backend
from podway.plugins.orders import check_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.fields import Fields
    from podway.plugins.skeleton import Call

DEFAULT_BRIDGE: "Final" = "cni0"
VLAN_MAX: "Final" = 4094
# Where the spoof check begins; table and chain stay when the last one goes.
SPOOF_TABLE: "Final" = "nat"
SPOOF_BASE: "Final" = "PREROUTING"


class BridgeConf(Value):
    """The configuration, and what the runtime asks for.

    Attributes:
        bridge: name of the device.
        is_gateway: the bridge has an address of each subnet, and forwards.
        is_default_gateway: and is the container's default route.
        force_address: addresses of the bridge that are in the way are taken away.
        ip_masq: the container's traffic to the outside is masqueraded.
        masq_backend: "iptables", "nftables", "" for what the system has.
        mtu_bytes: of bridge and container, 0 for the kernel's.
        hairpin: the port sends back where a frame came from.
        promisc: the bridge hears everything.
        vlan: the port's VLAN, untagged; 0 for none.
        trunk: the port's tagged VLANs, as ranges of first and last.
        preserve_default_vlan: a port with a VLAN keeps the bridge's default one as well.
        spoof_check: frames must bear the container's MAC.
        isolated: the port reaches the bridge only, no other isolated port.
        dad: addresses are tested for duplicates before they are used.
        container_down: the container's end stays down; there is no IPAM then.
        mac: of the container's end, "" for the kernel's choice.
        ipam: name of the IPAM plugin, "" for an attachment of layer 2 alone.
        dns: replaces IPAM's where it says something.
    """

    bridge: str
    is_gateway: bool
    is_default_gateway: bool
    force_address: bool
    ip_masq: bool
    masq_backend: str
    mtu_bytes: int
    hairpin: bool
    promisc: bool
    vlan: int
    trunk: tuple[tuple[int, int], ...]
    preserve_default_vlan: bool
    spoof_check: bool
    isolated: bool
    dad: bool
    container_down: bool
    mac: str
    ipam: str
    dns: Dns

    @property
    def filters_vlans(self) -> bool:
        """The bridge must look at VLANs."""
        return bool(self.vlan or self.trunk)


def parse_bridge_conf(call: "Call") -> BridgeConf:
    """Return what *call* configures and asks for.

    Raises:
        CniError: INVALID_CONFIG for a key of the configuration, INVALID_ENVIRONMENT for CNI_ARGS.
    """
    check_arguments(call.request)
    fields = plugin_fields(call.config)
    is_default_gateway = fields.boolean("isDefaultGateway")
    conf = BridgeConf(
        bridge=parse_device_name(fields, "bridge") or DEFAULT_BRIDGE,
        is_gateway=fields.boolean("isGateway") or is_default_gateway,
        is_default_gateway=is_default_gateway,
        force_address=fields.boolean("forceAddress"),
        ip_masq=fields.boolean("ipMasq"),
        masq_backend=parse_backend(fields),
        mtu_bytes=parse_mtu(fields),
        hairpin=fields.boolean("hairpinMode"),
        promisc=fields.boolean("promiscMode"),
        vlan=fields.integer_within("vlan", 0, VLAN_MAX) or 0,
        trunk=_parse_trunk(fields),
        preserve_default_vlan=fields.boolean("preserveDefaultVlan", default=True),
        spoof_check=fields.boolean("macspoofchk"),
        isolated=fields.boolean("portIsolation"),
        dad=fields.boolean("enabledad"),
        container_down=fields.boolean("disableContainerInterface"),
        mac=requested_mac(call.request),
        ipam=ipam_type(call),
        dns=configured_dns(call.config),
    )
    _check_together(conf)
    return conf


def _check_together(conf: BridgeConf) -> None:
    """Refuse what contradicts itself."""
    contradictions = (
        (conf.hairpin and conf.promisc, "hairpinMode and promiscMode exclude each other"),
        (conf.vlan and conf.trunk, "vlan and vlanTrunk exclude each other"),
        (
            conf.container_down and conf.ipam,
            "disableContainerInterface and ipam exclude each other",
        ),
    )
    for contradicts, rule in contradictions:
        if contradicts:
            raise CniError(INVALID_CONFIG, rule)
    if conf.vlan and conf.is_gateway and conf.ipam:
        rule = broken_ifname_rule(vlan_gateway_name(conf))
        if rule:
            name = vlan_gateway_name(conf)
            raise broken_rule("bridge", conf.bridge, f"its VLAN's gateway would be {name}: {rule}")


def vlan_gateway_name(conf: BridgeConf) -> str:
    """Return the name of the device that has the gateway's address in a VLAN: ``cni0.100``."""
    return f"{conf.bridge}.{conf.vlan}"


def _parse_trunk(fields: "Fields") -> tuple[tuple[int, int], ...]:
    """Return the VLANs of ``vlanTrunk`` as ranges that neither overlap nor touch."""
    ranges = sorted(each for item in fields.each("vlanTrunk") for each in _parse_item(item))
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _parse_item(item: "Fields") -> list[tuple[int, int]]:
    """Return the VLANs of one item: an id, a range, or both."""
    single = item.integer_within("id", 1, VLAN_MAX)
    first = item.integer_within("minID", 1, VLAN_MAX)
    last = item.integer_within("maxID", 1, VLAN_MAX)
    ranges = [] if single is None else [(single, single)]
    if first is None and last is None:
        return ranges
    if first is None or last is None:
        key = "minID" if first is None else "maxID"
        raise item.refused(key, None, "minID and maxID come together")
    if last < first:
        raise item.refused("maxID", last, f"must not be below minID ({first})")
    return [*ranges, (first, last)]
