"""``Backend`` of net-conf.json: flannel's keys to values, and back for the store.

In: the object ``Backend``. Out: one of `podway.model.backends`, or a `ConfigError` with field,
value and rule. Unknown keys pass, so that one file can serve flannel and podway; they are named.
"""

import shlex
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

from podway.errors import ConfigError
from podway.model.backends import (
    KERNEL_VXLAN_PORT,
    AllocConfig,
    BackendConfig,
    BackendName,
    ExtensionConfig,
    HostGwConfig,
    IpipConfig,
    UdpConfig,
    VxlanConfig,
    WireguardConfig,
    WireguardMode,
)
from podway.model.fields import Fields
from podway.model.programs import Command
from podway.model.secret import Secret

MIN_MTU_IPV4 = 576
MAX_MTU = 65535
WIREGUARD_KEY_BYTES = 32
_SHELL_OPERATORS = frozenset({"&&", "||", ";", "|", "&", ">", ">>", "<", "2>&1"})


def parse_backend(fields: Fields | None, unnamed: BackendName = "vxlan") -> BackendConfig:
    """Return the backend that the object ``Backend`` describes; *unnamed* where there is none.

    Raises:
        ConfigError: an unknown type, or a value that breaks its rule.
    """
    if fields is None:
        return _PARSERS[unnamed](Fields({}))
    name = fields.text("Type", "")
    # flannel looks names up in lower case.
    parse = _PARSERS.get(name.lower())
    if parse is None:
        raise ConfigError(fields.path("Type"), name, f"must be one of {', '.join(_PARSERS)}")
    return parse(fields)


def _parse_mtu(fields: Fields) -> int:
    mtu = fields.number("MTU", 0, 0, MAX_MTU)
    if 0 < mtu < MIN_MTU_IPV4:
        raise ConfigError(fields.path("MTU"), mtu, f"must be 0 or at least {MIN_MTU_IPV4}")
    return mtu


def _parse_port(fields: Fields, name: str, default: int) -> int:
    return fields.number(name, 0, 0, 65535) or default


def _parse_vxlan(fields: Fields) -> VxlanConfig:
    offload = fields.raw("TxChecksumOffload")
    return VxlanConfig(
        vni=fields.number("VNI", 1, 1, (1 << 24) - 1),
        port=_parse_port(fields, "Port", KERNEL_VXLAN_PORT),
        mtu=_parse_mtu(fields),
        gbp=fields.flag("GBP", default=False),
        learning=fields.flag("Learning", default=False),
        direct_routing=fields.flag("DirectRouting", default=False),
        checksum_offload=(
            None if offload is None else fields.flag("TxChecksumOffload", default=True)
        ),
    )


def _parse_udp(fields: Fields) -> UdpConfig:
    return UdpConfig(port=_parse_port(fields, "Port", 8285), mtu=_parse_mtu(fields))


def _parse_ipip(fields: Fields) -> IpipConfig:
    direct = fields.flag("DirectRouting", default=False)
    return IpipConfig(direct_routing=direct, mtu=_parse_mtu(fields))


def _parse_wireguard(fields: Fields) -> WireguardConfig:
    ipv4, ipv6 = (
        _parse_port(fields, "ListenPort", 51820),
        _parse_port(fields, "ListenPortV6", 51821),
    )
    mode = _parse_mode(fields)
    if mode == "separate" and ipv4 == ipv6:
        rule = f"must differ from ListenPort ({ipv4}): each family has a device of its own"
        raise ConfigError(fields.path("ListenPortV6"), ipv6, rule)
    return WireguardConfig(
        psk=_parse_psk(fields),
        listen_port=ipv4,
        listen_port_v6=ipv6,
        mtu=_parse_mtu(fields),
        mode=mode,
        keepalive_s=fields.number("PersistentKeepaliveInterval", 0, 0, 65535),
    )


def _parse_mode(fields: Fields) -> WireguardMode:
    text = fields.text("Mode", "separate") or "separate"
    if text not in get_args(WireguardMode):
        rule = f"must be one of {', '.join(get_args(WireguardMode))}"
        raise ConfigError(fields.path("Mode"), text, rule)
    return cast("WireguardMode", text)


def _parse_psk(fields: Fields) -> Secret:
    """Return the shared secret; no message shows what was given."""
    text = fields.raw("PSK")
    if text in (None, ""):
        return Secret("")
    if not isinstance(text, str) or not is_wireguard_key(text):
        rule = "must be 32 bytes in base64, as `wg genpsk` prints them"
        raise ConfigError(fields.path("PSK"), Secret("set"), rule)
    return Secret(text)


def is_wireguard_key(text: str) -> bool:
    """Tell whether *text* is 32 bytes in base64, in the one way in which WireGuard writes them."""
    try:
        key = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return False
    return len(key) == WIREGUARD_KEY_BYTES and b64encode(key).decode() == text


def _parse_extension(fields: Fields) -> ExtensionConfig:
    return ExtensionConfig(
        pre_startup=_parse_command(fields, "PreStartupCommand"),
        post_startup=_parse_command(fields, "PostStartupCommand"),
        subnet_add=_parse_command(fields, "SubnetAddCommand"),
        subnet_remove=_parse_command(fields, "SubnetRemoveCommand"),
        shutdown=_parse_command(fields, "ShutdownCommand"),
    )


def _parse_command(fields: Fields, name: str) -> Command:
    """Return an argument vector: a list of strings as it is, one string cut as a shell would."""
    value = fields.raw(name)
    rule = "must be a command line without a shell's operators, or a list of arguments"
    if value is None:
        return ()
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ConfigError(fields.path(name), value, f"{rule}: {error}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ConfigError(fields.path(name), value, rule)
    if isinstance(value, str) and (operators := _SHELL_OPERATORS.intersection(words)):
        said = f"{rule}: {' '.join(sorted(operators))} would be an argument; put it into a script"
        raise ConfigError(fields.path(name), value, said)
    if any("\0" in word for word in words) or (words and not words[0]):
        raise ConfigError(fields.path(name), value, rule)
    return tuple(words)


def render_backend(config: BackendConfig) -> dict[str, Any]:
    """Return the object ``Backend`` that says everything that *config* does, secrets too."""
    render: Callable[[Any], dict[str, Any]] = _RENDERERS[type(config)]
    return {"Type": config.__struct_config__.tag, **render(config)}


def _render_vxlan(config: VxlanConfig) -> dict[str, Any]:
    offload = config.checksum_offload
    return {
        "VNI": config.vni,
        "Port": config.port,
        "MTU": config.mtu,
        "GBP": config.gbp,
        "Learning": config.learning,
        "DirectRouting": config.direct_routing,
        **({} if offload is None else {"TxChecksumOffload": offload}),
    }


def _render_wireguard(config: WireguardConfig) -> dict[str, Any]:
    return {
        "PSK": config.psk.value,
        "ListenPort": config.listen_port,
        "ListenPortV6": config.listen_port_v6,
        "MTU": config.mtu,
        "Mode": config.mode,
        "PersistentKeepaliveInterval": config.keepalive_s,
    }


def _render_extension(config: ExtensionConfig) -> dict[str, Any]:
    return {
        "PreStartupCommand": list(config.pre_startup),
        "PostStartupCommand": list(config.post_startup),
        "SubnetAddCommand": list(config.subnet_add),
        "SubnetRemoveCommand": list(config.subnet_remove),
        "ShutdownCommand": list(config.shutdown),
    }


_PARSERS: Mapping[str, Callable[[Fields], BackendConfig]] = {
    "vxlan": _parse_vxlan,
    "host-gw": lambda _fields: HostGwConfig(),
    "udp": _parse_udp,
    "ipip": _parse_ipip,
    "wireguard": _parse_wireguard,
    "extension": _parse_extension,
    "alloc": lambda _fields: AllocConfig(),
}
_RENDERERS: Mapping[type[BackendConfig], Callable[[Any], dict[str, Any]]] = {
    VxlanConfig: _render_vxlan,
    HostGwConfig: lambda _config: {},
    UdpConfig: lambda config: {"Port": config.port, "MTU": config.mtu},
    IpipConfig: lambda config: {"DirectRouting": config.direct_routing, "MTU": config.mtu},
    WireguardConfig: _render_wireguard,
    ExtensionConfig: _render_extension,
    AllocConfig: lambda _config: {},
}
