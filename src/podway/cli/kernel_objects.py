"""A kernel object, as the agent tells it in JSON, in the words of iproute2. Pure.

The agent's answer names an object by its key (``route 2 254 10.244.2.0/24 0``), which is exact and
unkind; what it holds is beside it, field by field.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Fields: TypeAlias = Mapping[str, Any]
MAIN_TABLE = 254


def describe_object(key: str, fields: Fields | None) -> str:
    """Return the object in one line; its *key* when nothing else is known of it.

    Args:
        key: the object's key, whose first word is its kind.
        fields: what it holds, as in `podway.model.kernel`.
    """
    kind = key.split(maxsplit=1)[0]
    describe = _DESCRIBERS.get(kind)
    return f"{kind} {describe(fields)}" if describe is not None and fields else key


def _route(fields: Fields) -> str:
    ways = fields["nexthops"] or [fields]
    table = "" if fields["table"] == MAIN_TABLE else f"table {fields['table']}"
    kind = "" if fields["kind"] == "unicast" else fields["kind"]
    path = " nexthop ".join(_way(way) for way in ways)
    src = f"src {fields['src']}" if fields["src"] else ""
    return _joined(kind, fields["dst"], path, src, table, _numbered(fields, "metric", "mtu"))


def _way(fields: Fields) -> str:
    via = f"via {fields['via']}" if fields["via"] else ""
    dev = f"dev {fields['dev']}" if fields["dev"] else ""
    return _joined(via, dev, "onlink" if fields["onlink"] else "")


def _link(fields: Fields) -> str:
    kind = fields["kind"]
    local = f"local {kind['local']}" if kind.get("local") else ""
    detail = _joined(_numbered(kind, "vni", "port"), local)
    master = f"master {fields['master']}" if fields["master"] else ""
    state = "up" if fields["up"] else "down"
    mtu = _numbered(fields, "mtu")
    return _joined(fields["name"], kind["type"].lower(), detail, master, mtu, state)


def _address(fields: Fields) -> str:
    return f"{fields['address']} dev {fields['dev']}"


def _neighbour(fields: Fields) -> str:
    mac = f"lladdr {fields['mac']}" if fields["mac"] else ""
    return _joined(fields["address"], mac, f"dev {fields['dev']}")


def _fdb(fields: Fields) -> str:
    return f"{fields['mac']} dst {fields['dst']} dev {fields['dev']}"


def _wireguard(fields: Fields) -> str:
    return f"{fields['dev']} key {fields['public_key']} port {fields['listen_port']}"


def _wgpeer(fields: Fields) -> str:
    host = f"[{fields['endpoint']}]" if ":" in fields["endpoint"] else fields["endpoint"]
    keepalive = _numbered({"keepalive": fields["keepalive_s"]}, "keepalive")
    where = f"endpoint {host}:{fields['port']}"
    return _joined(fields["public_key"], where, f"psk {fields['psk']}", keepalive, _dev(fields))


def _allowedip(fields: Fields) -> str:
    return f"{fields['prefix']} peer {fields['public_key']} dev {fields['dev']}"


def _relay(fields: Fields) -> str:
    addresses = " ".join(fields["addresses"])
    return _joined(_dev(fields), addresses, _numbered(fields, "port"), "for", *fields["subnets"])


def _udppeer(fields: Fields) -> str:
    host = f"[{fields['public_ip']}]" if ":" in fields["public_ip"] else fields["public_ip"]
    own = "segments" if fields["segments"] else "bare"
    return _joined(fields["prefix"], f"at {host}:{fields['port']}", own, _dev(fields))


def _dev(fields: Fields) -> str:
    return f"dev {fields['dev']}"


def _rule(fields: Fields) -> str:
    src = f"from {fields['src'] or 'all'}"
    dst = f"to {fields['dst']}" if fields["dst"] else ""
    numbers = _numbered(fields, "fwmark", "table")
    return _joined(f"{fields['priority']}:", src, dst, numbers)


def _sysctl(fields: Fields) -> str:
    return f"net.{fields['path'].replace('/', '.')} = {fields['value']}"


def _offload(fields: Fields) -> str:
    return f"tx-checksumming {'on' if fields['tx_checksum'] else 'off'} {_dev(fields)}"


def _nft(fields: Fields) -> str:
    return f"table {fields['family']} {fields['name']}"


def _numbered(fields: Fields, *names: str) -> str:
    return " ".join(f"{name} {fields[name]}" for name in names if fields.get(name))


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


_DESCRIBERS: Mapping[str, Callable[[Fields], str]] = {
    "route": _route,
    "link": _link,
    "address": _address,
    "neighbour": _neighbour,
    "proxy": _neighbour,
    "fdb": _fdb,
    "wireguard": _wireguard,
    "wgpeer": _wgpeer,
    "allowedip": _allowedip,
    "relay": _relay,
    "udppeer": _udppeer,
    "rule": _rule,
    "sysctl": _sysctl,
    "offload": _offload,
    "nft": _nft,
}
