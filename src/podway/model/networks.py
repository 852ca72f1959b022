"""The cluster network as its operator configures it: flannel's net-conf.json, checked and typed.

In: the JSON text (keys match without regard to case, as in Go). Out: a `Network`, or a
`ConfigError` that names field, value and rule. Unknown keys pass, so that one file can serve
flannel and podway, and `podway.model.unknown_keys` names them; a known key with a wrong value
never passes.

podway's own keys: ``Networks`` (further prefixes, `podway.model.pools`), ``Attach`` ("bridge" or
"routed"), ``Masquerade`` (bool) and ``NonMasqueradeCIDRs`` (prefixes outside the network that see
pods' own addresses).
"""

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from podway.errors import ConfigError
from podway.model.addresses import Family, IPNetwork, family_of, prefix_contains
from podway.model.backend_keys import parse_backend
from podway.model.backends import (
    AllocConfig,
    BackendConfig,
    BackendName,
    ExtensionConfig,
    HostGwConfig,
    IpipConfig,
    UdpConfig,
    VxlanConfig,
    WireguardConfig,
)
from podway.model.fields import Fields
from podway.model.pools import Pool, parse_pools, parse_prefix

__all__ = [
    "MIN_MTU_IPV6",
    "AllocConfig",
    "Attach",
    "BackendConfig",
    "ExtensionConfig",
    "HostGwConfig",
    "IpipConfig",
    "Network",
    "Pool",
    "UdpConfig",
    "VxlanConfig",
    "WireguardConfig",
    "parse_network",
    "parse_prefix",
]

Attach: TypeAlias = Literal["bridge", "routed"]
MIN_MTU_IPV6 = 1280
# flannel's, and without a meaning here: podway's rules are nftables' in any case.
_PASSED_OVER = ("EnableNFTables",)


class Network(Struct, frozen=True, kw_only=True):
    """A cluster network: pools, one backend, and what leaves it masqueraded.

    Attributes:
        pools: IPv4 before IPv6; in each family flannel's own first, then in the order in which
            they are used up. No two overlap.
        backend: how nodes reach each other's pods.
        attach: how pods meet their node.
        masquerade: pods' packets to the outside take the node's address.
        non_masquerade: prefixes outside the network that see pods' own addresses.
    """

    pools: tuple[Pool, ...]
    backend: BackendConfig
    attach: Attach = "bridge"
    masquerade: bool = True
    non_masquerade: tuple[IPNetwork, ...] = ()

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of the network, IPv4 first."""
        return tuple(dict.fromkeys(pool.family for pool in self.pools))

    def pools_of(self, family: Family) -> tuple[Pool, ...]:
        """Return the pools of *family*, in order; () where the network has none."""
        return tuple(pool for pool in self.pools if pool.family is family)

    def prefixes(self, family: Family) -> tuple[IPNetwork, ...]:
        """Return all that may be a pod's address in *family*, in order."""
        return tuple(pool.prefix for pool in self.pools_of(family))

    def pool_around(self, subnet: IPNetwork) -> Pool | None:
        """Return the pool in which *subnet* lies, None for none."""
        around = (p for p in self.pools_of(family_of(subnet)) if prefix_contains(p.prefix, subnet))
        return next(around, None)

    @property
    def backend_name(self) -> str:
        """The backend's name, as in ``Backend.Type``."""
        return str(self.backend.__struct_config__.tag)


def parse_network(text: bytes | str, unnamed: BackendName = "vxlan") -> Network:
    """Return the network that net-conf.json *text* describes, with *unnamed* where it names none.

    Raises:
        ConfigError: the text is no JSON object, or a value breaks its rule.
    """
    return parse_fields(decode_fields(text), unnamed)


def decode_fields(text: bytes | str) -> Fields:
    """Return the fields of net-conf.json *text*. Raises `ConfigError` for what is no object."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigError("net-conf.json", _size(text), f"must be JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError("net-conf.json", _size(text), "must be one JSON object")
    return Fields(document)


def parse_fields(fields: Fields, unnamed: BackendName) -> Network:
    """Return the network that *fields* describe, with *unnamed* where they name no backend.

    Raises:
        ConfigError: a value breaks its rule.
    """
    fields.declare(*_PASSED_OVER)
    pools, backend = parse_pools(fields), parse_backend(fields.child("Backend"), unnamed)
    if isinstance(backend, IpipConfig) and any(pool.family is Family.IPV6 for pool in pools):
        rule = "ipip carries IPv4 alone: leave it false, or take vxlan, wireguard or host-gw"
        raise ConfigError("EnableIPv6", True, rule)  # noqa: FBT003
    return Network(
        pools=pools,
        backend=backend,
        attach=_parse_attach(fields),
        masquerade=fields.flag("Masquerade", default=True),
        non_masquerade=_parse_prefixes(fields, "NonMasqueradeCIDRs"),
    )


def _size(text: bytes | str) -> str:
    """Return what may be told of a text of which nobody knows where its secrets are."""
    return f"{len(text)} {'characters' if isinstance(text, str) else 'bytes'}"


def _parse_attach(fields: Fields) -> Attach:
    match fields.text("Attach", "bridge"):
        case "bridge":
            return "bridge"
        case "routed":
            return "routed"
        case other:
            raise ConfigError("Attach", other, 'must be "bridge" or "routed"')


def _parse_prefixes(fields: Fields, name: str) -> tuple[IPNetwork, ...]:
    values = fields.raw(name)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise ConfigError(name, values, "must be a list of prefixes")
    return tuple(parse_prefix(f"{name}[{i}]", value) for i, value in enumerate(values))
