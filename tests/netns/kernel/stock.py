"""What the cases are made of: devices that other objects stand on, and the form of a case."""

from ipaddress import IPv4Address, ip_address

from msgspec import Struct

from podway.model.kernel import Bridge, Ipip, KernelObject, Link, Vxlan

MAC = "02:00:00:00:00:01"
OTHER_MAC = "02:00:00:00:00:02"

VTEP = Link(
    name="podway.1",
    kind=Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay="eth0", port=8472),
    mtu=1450,
    mac="02:00:00:00:01:01",
    alias="podway:vtep",
)
VTEP6 = Link(
    name="podway-v6.1",
    kind=Vxlan(vni=1, local=ip_address("2001:db8::1"), underlay="eth0", port=8472),
    mtu=1430,
    mac="02:00:00:00:06:01",
    alias="podway:vtep",
)
IPIP = Link(
    name="podway.ipip", kind=Ipip(local=IPv4Address("192.0.2.1")), mtu=1480, alias="podway:ipip"
)
BRIDGE = Link(name="cni0", kind=Bridge(), mtu=1450, mac="02:00:00:00:02:01", alias="podway:bridge")
TABLE_BODY = (
    "chain forward {\n\ttype filter hook forward priority filter; policy accept;\n"
    '\tip saddr 10.244.0.0/16 counter accept comment "one"\n}\n'
)


class Case(Struct, frozen=True, kw_only=True):
    """One object to try every verb on.

    Attributes:
        name: for the test's id.
        item: the object.
        other: another value for the same key; None where the key says everything.
        needs: what must be there before, in order.
        is_told: the kernel notifies when somebody else touches it.
        feature: what the kernel must have for it, see `kernel_features`; "" for nothing special.
    """

    name: str
    item: KernelObject
    other: KernelObject | None = None
    needs: tuple[KernelObject, ...] = ()
    is_told: bool = True
    feature: str = ""
