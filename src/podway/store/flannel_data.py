"""Flannel's own words for a node: the JSON and the keys that a real flanneld reads and writes.

In: a `Node`, or one lease's `BackendData`. Out: the bytes that Go's encoding/json makes of
flannel's structs, and the way back. The etcd engine stores whole leases under keys that name the
subnets::

    subnets/10.5.52.0-24                      {"PublicIP":"192.168.64.3","PublicIPv6":null,...}
    subnets/10.12.13.0-24&fd00:12:13::-56     dual stack

the Kubernetes engine stores the same pieces as annotations, where no data is the text ``null``.

Byte for byte matters: a flanneld that takes a node over finds its old MAC by cutting the text at
``:"`` and expects two parts, so compact JSON, VtepMAC last. Reading is as lenient as Go (keys in
any case, unknown ones passed over) and no more: what breaks a rule is a `FlannelDataError`, and
whoever reads many entries passes over that one, visibly.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import msgspec

from podway.model.addresses import Family, IPNetwork
from podway.model.backends import BackendName
from podway.model.networks import Network, parse_network
from podway.model.nodes import (
    BackendData,
    ExtensionData,
    Lease,
    Node,
    UdpData,
    VtepData,
    WireguardData,
)
from podway.store.protocol import StoreError

# These backends write no BackendType, and their peers do not look at it.
UNNAMED_BACKENDS = frozenset({"udp", "alloc", "tencent-vpc"})
NO_DATA = "null"
# What a net-conf.json without Backend means to a flanneld (its documentation says vxlan).
_DEFAULT_BACKEND: BackendName = "udp"
# flannel has no node without IPv4 in etcd; this is what its zero value prints as.
_NO_IPV4 = "0.0.0.0"  # noqa: S104  (no address to listen on)
_KEY = re.compile(r"(?:([0-9.]+)-([0-9]+))?&?(?:([a-f0-9:]+:[a-f0-9:.]*)-([0-9]+))?")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_VNI_MAX = (1 << 24) - 1
_PORT_MAX = (1 << 16) - 1
# Go escapes these in every string, so that JSON may stand in HTML and in JavaScript.
_GO_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_GO_TABLE = str.maketrans(_GO_ESCAPES)


class FlannelDataError(StoreError):
    """A key or value is none that flannel could have written."""


def parse_net_conf(text: bytes | str) -> Network:
    """Return the network that *text* describes to all who read it, flanneld among them.

    Raises:
        ConfigError: as `parse_network` does.
    """
    return parse_network(text, _DEFAULT_BACKEND)


def render_subnet_key(leases: Sequence[Lease]) -> str:
    """Return the last part of the key for a node with *leases*: ``10.5.52.0-24``."""
    by_family = sorted(leases, key=lambda lease: lease.family)
    parts = (f"{each.subnet.network_address}-{each.subnet.prefixlen}" for each in by_family)
    return "&".join(parts)


def parse_subnet_key(key: str) -> tuple[IPNetwork, ...]:
    """Return the subnets that *key* (its last part alone) names, IPv4 first.

    Raises:
        FlannelDataError: it names none, or one with host bits.
    """
    found = _KEY.fullmatch(key)
    if not found or not key or ("&" in key) != bool(found[1] and found[3]):
        raise FlannelDataError(f"key {key!r}: must be like 10.5.52.0-24 or 10.5.52.0-24&fd00::-64")
    subnets: list[IPNetwork] = []
    try:
        if found[1]:
            subnets.append(IPv4Network(f"{found[1]}/{found[2]}"))
        if found[3]:
            subnets.append(IPv6Network(f"{found[3]}/{found[4]}"))
    except ValueError as error:
        raise FlannelDataError(f"key {key!r}: {error}") from error
    return tuple(subnets)


def render_backend_data(data: BackendData | None) -> str:
    """Return *data* as the annotation ``backend-data`` holds it; `NO_DATA` for none."""
    match data:
        case None:
            return NO_DATA
        case VtepData():
            return _go_json({"VNI": data.vni, "VtepMAC": data.mac})
        case WireguardData():
            port = {"Port": data.port} if data.port else {}
            return _go_json({"PublicKey": data.public_key, **port})
        case UdpData():
            return _go_json({"Formats": data.formats, "Port": data.port})
        case ExtensionData():
            return _go_json(data.text)


def parse_backend_data(backend: str, text: str | bytes) -> BackendData | None:
    """Return what a node of *backend* published as *text*.

    None for `NO_DATA`, for nothing at all, and for backends that publish nothing.

    Raises:
        FlannelDataError: it is not JSON, or a value breaks its rule.
    """
    if not text:
        return None
    return _backend_data(backend, _decode(text))


def render_lease(node: Node) -> bytes:
    """Return *node* as the value of its key in etcd."""
    ipv4, ipv6 = node.lease(Family.IPV4), node.lease(Family.IPV6)
    fields = [
        ("PublicIP", _quoted(str(ipv4.public_ip) if ipv4 else _NO_IPV4)),
        ("PublicIPv6", _quoted(str(ipv6.public_ip)) if ipv6 else NO_DATA),
    ]
    if node.backend not in UNNAMED_BACKENDS:
        fields.append(("BackendType", _quoted(node.backend)))
    for name, lease in (("BackendData", ipv4), ("BackendV6Data", ipv6)):
        if lease is not None and lease.data is not None:
            fields.append((name, render_backend_data(lease.data)))
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}").encode()


def parse_lease(key: str, value: bytes, *, name: str, unnamed: str = "") -> Node:
    """Return the node that etcd holds as *value* under *key* (its last part).

    Args:
        key: names the subnets.
        value: its JSON.
        name: of the node; flannel knows none.
        unnamed: backend of a node that names none (see `UNNAMED_BACKENDS`).

    Raises:
        FlannelDataError: the key or a field breaks its rule; the message names it.
    """
    subnets = parse_subnet_key(key)
    document = _object(f"lease {key}", _decode(value))
    backend = _text(document, "BackendType", unnamed)
    return Node(
        name=name,
        backend=backend,
        leases=tuple(_lease(document, subnet, backend) for subnet in subnets),
    )


def parse_public_ip(field: str, text: object, family: Family) -> IPv4Address | IPv6Address:
    """Return *text* as an address of *family*. Raises FlannelDataError with *field*."""
    # Not the numbers and the zones that ipaddress would also take.
    given = text if isinstance(text, str) and "%" not in text else ""
    try:
        return IPv4Address(given) if family is Family.IPV4 else IPv6Address(given)
    except ValueError as error:
        rule = f"must be an {family.label} address"
        raise FlannelDataError(f"{field} = {_shown(text)}: {rule}") from error


def _lease(document: Mapping[str, Any], subnet: IPNetwork, backend: str) -> Lease:
    if isinstance(subnet, IPv4Network):
        family, address, data = Family.IPV4, "PublicIP", "BackendData"
    else:
        family, address, data = Family.IPV6, "PublicIPv6", "BackendV6Data"
    return Lease(
        subnet=subnet,
        public_ip=parse_public_ip(address, document.get(address.lower()), family),
        data=_backend_data(backend, document.get(data.lower())),
    )


def _backend_data(backend: str, value: Any) -> BackendData | None:
    if value is None:
        return None
    match backend:
        case "vxlan":
            fields = _object("BackendData", value)
            vni = _number(fields, "VNI", _VNI_MAX)
            return VtepData(vni=vni, mac=_mac(fields))
        case "wireguard":
            fields = _object("BackendData", value)
            key = _text(fields, "PublicKey", "")
            return WireguardData(public_key=key, port=_number(fields, "Port", _PORT_MAX))
        case "udp":
            return _udp(_object("BackendData", value))
        case "extension":
            if not isinstance(value, str):
                raise FlannelDataError(f"BackendData = {_shown(value)}: must be a string")
            return ExtensionData(text=value)
        case _:
            return None


def _udp(fields: Mapping[str, Any]) -> UdpData:
    formats = fields.get("formats")
    if not isinstance(formats, list) or not all(isinstance(each, str) for each in formats):
        raise FlannelDataError(f"Formats = {_shown(formats)}: must be a list of strings")
    return UdpData(formats=tuple(formats), port=_number(fields, "Port", _PORT_MAX))


def _mac(fields: Mapping[str, Any]) -> str:
    text = fields.get("vtepmac")
    if not isinstance(text, str) or not _MAC.fullmatch(text):
        raise FlannelDataError(f"VtepMAC = {_shown(text)}: must be six hexadecimal bytes")
    # In the FDB zero means every address that is not there.
    if int(text[:2], 16) & 1 or not text.strip("0:"):
        raise FlannelDataError(f"VtepMAC = {text}: must be the address of one interface")
    return text.lower()


def _number(fields: Mapping[str, Any], name: str, high: int) -> int:
    value = fields.get(name.lower(), 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise FlannelDataError(f"{name} = {_shown(value)}: must be a whole number, 0 to {high}")
    return value


def _text(fields: Mapping[str, Any], name: str, default: str) -> str:
    value = fields.get(name.lower(), default)
    if not isinstance(value, str):
        raise FlannelDataError(f"{name} = {_shown(value)}: must be a string")
    return value


def _object(what: str, value: Any) -> dict[str, Any]:
    """Return the fields of *value* by name in lower case, as Go finds them."""
    if not isinstance(value, dict):
        raise FlannelDataError(f"{what} = {_shown(value)}: must be a JSON object")
    return {key.lower(): field for key, field in value.items()}


def _decode(text: str | bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FlannelDataError(f"{_shown(text)}: must be JSON: {error}") from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _quoted(text: str) -> str:
    return _go_json(text)


def _go_json(value: Any) -> str:
    return msgspec.json.encode(value).decode().translate(_GO_TABLE)
