"""One of several agents on a machine: how it marks what is its own, and how it calls its devices.

An agent knows its own objects in the kernel by marks: a protocol number on routes and rules, the
start of an alias on devices, the name of an nftables table, a link group while a device is being
made. Two agents in one network namespace (one for each network) with the same marks would sweep
each other's objects away, so every *instance* has its own. What podway's pure functions compute
bears the marks and names of the one without a name; `podway.compute.dressing` puts the instance's
in their place.
"""

import re
import zlib

from msgspec import Struct

from podway.errors import ConfigError
from podway.model.kernel import ALIAS_PREFIX, ROUTE_PROTOCOL

PREFIX = "podway"
TABLE_NAME = "podway"
BRIDGE_NAME = "cni0"
UNFINISHED_GROUP = 0x70760000
_UNFINISHED = ":unfinished"
# One byte of rtm_protocol: what neither iproute2's rt_protos nor a routing daemon has.
_FIRST_PROTOCOL, _PROTOCOLS = 113, 64
# "NAME-v6.1234" must fit into the 15 bytes of a device's name.
_PREFIX_RULE = re.compile(r"[a-z][a-z0-9]{0,6}")


class Marks(Struct, frozen=True, kw_only=True):
    """What tells one agent's objects in a kernel from everybody else's.

    Attributes:
        protocol: of its routes and rules (rtm_protocol).
        alias: with which the aliases of its devices begin.
        table: name of its nftables table.
        group: link group of a device that is not finished.
    """

    protocol: int = ROUTE_PROTOCOL
    alias: str = ALIAS_PREFIX
    table: str = TABLE_NAME
    group: int = UNFINISHED_GROUP

    @property
    def unfinished(self) -> str:
        """What is read as the alias of a device whose maker was killed before it was done."""
        return f"{self.alias[:-1]}{_UNFINISHED}"

    @property
    def wireguard(self) -> str:
        """Alias of a device that is WireGuard, of whatever kind the kernel takes it for."""
        return f"{self.alias}wireguard"

    @property
    def forward_chain(self) -> str:
        """Name of its chain in iptables' table filter."""
        return f"{self.table.upper()}-FWD"


PODWAY = Marks()


class Instance(Struct, frozen=True, kw_only=True):
    """One agent among several.

    Attributes:
        name: "" for the only one there mostly is.
        prefix: with which its devices' names begin.
        bridge: name of its bridge.
        marks: on what is its own.
    """

    name: str = ""
    prefix: str = PREFIX
    bridge: str = BRIDGE_NAME
    marks: Marks = PODWAY


DEFAULT_INSTANCE = Instance()


def instance_of(name: str, device_prefix: str = "") -> Instance:
    """Return the instance called *name* ("": the one without a name).

    Args:
        name: also its devices' prefix, unless *device_prefix* is another.
        device_prefix: "flannel" gives ``flannel.1`` in place of ``podway.1``.

    Raises:
        ConfigError: a name that no device's name can begin with.
    """
    for field, text in (("--instance", name), ("--device-prefix", device_prefix)):
        if text and not _PREFIX_RULE.fullmatch(text):
            rule = "must be a lower-case letter and up to six letters or digits"
            raise ConfigError(field, text, rule)
    if name == PREFIX:
        raise ConfigError("--instance", name, "is what the instance without a name uses")
    if not name:
        return Instance(prefix=device_prefix or PREFIX)
    number = zlib.crc32(name.encode()) % _PROTOCOLS
    marks = Marks(
        protocol=_FIRST_PROTOCOL + number,
        alias=f"podway@{name}:",
        table=f"podway-{name}",
        group=UNFINISHED_GROUP + 1 + number,
    )
    return Instance(name=name, prefix=device_prefix or name, bridge=f"cni-{name}", marks=marks)


def is_unfinished(alias: str) -> bool:
    """Tell whether *alias* stands for a device of any instance that is not finished."""
    return alias.startswith("podway") and alias.endswith(_UNFINISHED)
