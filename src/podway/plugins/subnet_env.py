"""The file ``subnet.env``: what a flannel daemon tells the node's CNI plugin.

In: its text. Out: networks, this node's subnets, MTU, and who masquerades. Called by
`flannel_conf`. Written by flanneld and by podway's agent, replaced whole::

    FLANNEL_NETWORK=10.244.0.0/16,10.245.0.0/16
    FLANNEL_SUBNET=10.244.1.1/24
    FLANNEL_IPV6_NETWORK=fd00:244::/48
    FLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64
    FLANNEL_MTU=1450
    FLANNEL_IPMASQ=true

One family is enough. Lines with other names are somebody else's.
"""

from podway.cni.addresses import (
    first_address,
    parse_address,
    parse_prefix_bits,
    render_address,
)
from podway.cni.errors import INVALID_CONFIG, TRY_AGAIN_LATER, CniError, broken_rule
from podway.cni.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_U32: "Final" = (1 << 32) - 1


class SubnetEnv(Value):
    """What the file says; prefixes are in canonical form, without host bits.

    Attributes:
        networks: of all nodes, IPv4 before IPv6.
        subnets: of this node, IPv4 before IPv6; one of each family at most.
        mtu_bytes: of pods.
        ip_masq: the daemon masquerades, so that the plugin need not.
    """

    networks: tuple[str, ...]
    subnets: tuple[str, ...]
    mtu_bytes: int
    ip_masq: bool


def parse_subnet_env(text: str, path: str) -> SubnetEnv:
    """Return what *text*, found at *path*, says.

    Raises:
        CniError: TRY_AGAIN_LATER, something is missing yet; INVALID_CONFIG, a value is none.
    """
    pairs = (line.strip().partition("=") for line in text.splitlines())
    values = {name: value.strip().strip("\"'") for name, _, value in pairs}
    _check_complete(values, path)
    four, six = "FLANNEL_", "FLANNEL_IPV6_"
    networks = (
        (f"{family}NETWORK", prefix.strip())
        for family in (four, six)
        for prefix in values.get(f"{family}NETWORK", "").split(",")
    )
    subnets = ((name, values.get(name, "")) for name in (f"{four}SUBNET", f"{six}SUBNET"))
    return SubnetEnv(
        networks=tuple(_prefix(name, value, path) for name, value in networks if value),
        subnets=tuple(_prefix(name, value, path) for name, value in subnets if value),
        mtu_bytes=_mtu(values["FLANNEL_MTU"], path),
        ip_masq=values["FLANNEL_IPMASQ"] == "true",
    )


def _check_complete(values: "dict[str, str]", path: str) -> None:
    missing = [
        name
        for names in (
            ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"),
            ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"),
            ("FLANNEL_MTU",),
            ("FLANNEL_IPMASQ",),
        )
        if not any(values.get(name) for name in names)
        for name in names
    ]
    if missing:
        raise CniError(TRY_AGAIN_LATER, f"{path} is missing {', '.join(missing)}")


def _prefix(name: str, value: str, path: str) -> str:
    """Return a prefix without its host bits, of the family that *name* is for."""
    address, slash, bits = value.partition("/")
    try:
        packed = parse_address(address)
        length = parse_prefix_bits(bits, len(packed) * 8) if slash else None
    except ValueError as error:
        raise broken_rule(f"{name} in {path}", value, str(error), INVALID_CONFIG) from None
    family = "IPv6" if "IPV6" in name else "IPv4"
    if length is None or (len(packed) == 16) != (family == "IPv6"):
        raise broken_rule(f"{name} in {path}", value, f"must be an {family} prefix")
    return f"{render_address(first_address(packed, length))}/{length}"


def _mtu(value: str, path: str) -> int:
    is_number = value.isascii() and value.isdigit() and len(value) <= 10
    if not is_number or int(value) > _U32:
        raise broken_rule(f"FLANNEL_MTU in {path}", value, "must be a number of bytes")
    return int(value)
