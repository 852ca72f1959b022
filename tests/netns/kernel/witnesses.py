"""A witness who tells what is in the kernel: iproute2, bridge, nft, ethtool and /proc.

In: a key. Out: what there is, in the words of `expected_facts`. It shares no line with the code
under test.
"""

import json
from typing import Any

from netns.conftest import Netns, run
from netns.kernel.iproute2_words import family_flag, kind_words
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    Offload,
    Route,
    Rule,
    Sysctl,
    Vxlan,
)

Facts = dict[str, Any]


class Witness:
    """Who looks at one namespace."""

    def __init__(self, netns: Netns) -> None:
        self.netns = netns

    def facts(self, key: Key) -> Facts | None:  # noqa: PLR0911  # one for each kind
        """Return what there is at *key* in the words of `expected_facts`; None for nothing."""
        parts = [str(part) for part in key.parts]
        match key.kind:
            case "link":
                return self._link(parts[0])
            case "address":
                return self._address(*parts)
            case "route":
                return self._route(*parts)
            case "neighbour" | "proxy":
                return self._neighbour(*parts, proxy=key.kind == "proxy")
            case "fdb":
                return self._fdb(*parts)
            case "rule":
                return self._rule(*parts)
            case "sysctl":
                return self._sysctl(parts[0])
            case "offload":
                return self._offload(parts[0])
            case _:
                return self._table(*parts)

    def _offload(self, dev: str) -> Facts:
        lines = self.netns.exec("ethtool", "-k", dev).splitlines()
        return {"tx_checksum": any(line.startswith("tx-checksumming: on") for line in lines)}

    def _json(self, *words: str) -> list[Facts]:
        return [item for item in json.loads(self.netns.ip("-j", *words) or "[]") if item]

    def _link(self, name: str) -> Facts | None:
        for item in self._json("-d", "link", "show"):
            if item["ifname"] == name:
                info = item["linkinfo"]
                return {
                    "kind": info["info_kind"],
                    "data": _known_data(info.get("info_data", {})),
                    "mtu": item["mtu"],
                    "mac": item["address"],
                    "master": item.get("master", ""),
                    "alias": item.get("ifalias", ""),
                    "up": "UP" in item["flags"],
                    "hairpin": info.get("info_slave_data", {}).get("hairpin", False),
                }
        return None

    def _address(self, dev: str, address: str) -> Facts | None:
        for item in self._json("address", "show", "dev", dev):
            for info in item["addr_info"]:
                if f"{info['local']}/{info['prefixlen']}" == address:
                    return {
                        "tentative": info.get("tentative", False),
                        "host": info["scope"] == "host",
                    }
        return None

    def _route(self, family: str, table: str, dst: str, metric: str) -> Facts | None:
        wanted = "default" if dst in {"0.0.0.0/0", "::/0"} else dst.removesuffix("/32")
        wanted = wanted.removesuffix("/128")
        flag = family_flag(Family(int(family)))
        listed = self._json("-N", "-d", flag, "route", "show", "table", "all")
        for item in listed:
            if item.get("table", "254") != table:
                continue
            if item["dst"] == wanted and item.get("metric", 0) == int(metric):
                return {
                    "type": item["type"],
                    "protocol": item["protocol"],
                    "ways": _ways(item),
                    "prefsrc": item.get("prefsrc", ""),
                    "mtu": item.get("metrics", [{}])[0].get("mtu", 0),
                    "scope": item["scope"],
                }
        return None

    def _neighbour(self, dev: str, address: str, *, proxy: bool) -> Facts | None:
        flag = "-6" if ":" in address else "-4"
        words = ["show", "proxy"] if proxy else ["show", "nud", "permanent"]
        for item in self._json(flag, "neighbour", *words, "dev", dev):
            if item["dst"] == address:
                return {"mac": item.get("lladdr", "")}
        return None

    def _fdb(self, dev: str, mac: str) -> Facts | None:
        try:
            listed = json.loads(
                run("bridge", "-n", self.netns.name, "-j", "fdb", "show", "dev", dev)
            )
        except Exception:  # noqa: BLE001  # bridge fails when there is no such device
            return None
        for item in listed:
            if item["mac"] == mac and "self" in item["flags"]:
                return {"dst": item["dst"], "state": item["state"]}
        return None

    def _rule(self, *parts: str) -> Facts | None:
        family, priority, table, src, dst, fwmark, fwmask, iif = parts
        for item in self._json("-N", family_flag(Family(int(family))), "rule", "show"):
            found = (
                str(item["priority"]),
                item["table"],
                _rule_prefix(item, "src"),
                _rule_prefix(item, "dst"),
                str(int(item.get("fwmark", "0"), 16)),
                str(int(item.get("fwmask", "0xffffffff" if "fwmark" in item else "0"), 16)),
                item.get("iif", ""),
            )
            if found == (priority, table, src, dst, fwmark, fwmask, iif):
                return {"protocol": item["protocol"]}
        return None

    def _sysctl(self, path: str) -> Facts | None:
        shown = self.netns.exec("sh", "-c", f"cat '/proc/sys/net/{path}' 2>/dev/null || true")
        return {"value": shown.strip()} if shown else None

    def _table(self, family: str, name: str) -> Facts | None:
        tables = json.loads(self.netns.exec("nft", "-j", "list", "ruleset"))["nftables"]
        mine = [
            (kind, item[kind])
            for item in tables
            for kind in item
            if item[kind].get("family") == family
            and name in {item[kind].get("table"), item[kind].get("name")}
        ]
        if not mine:
            return None
        return {
            "chains": [item["name"] for kind, item in mine if kind == "chain"],
            "rules": [item["comment"] for kind, item in mine if kind == "rule"],
        }


def expected_facts(item: KernelObject) -> Facts:  # noqa: PLR0911  # one for each kind
    """Return what the witness must see of *item*; what it leaves open is left out."""
    match item:
        case Link():
            return _link_facts(item)
        case Address():
            return {"tentative": False, "host": item.scope == "host"}
        case Route():
            return _route_facts(item)
        case Neighbour():
            return {"mac": item.mac}
        case FdbEntry():
            return {"dst": str(item.dst), "state": "permanent"}
        case Rule():
            return {"protocol": str(item.protocol)}
        case Sysctl():
            return {"value": item.value}
        case Offload():
            return {"tx_checksum": item.tx_checksum}
        case _:
            return {}


def _link_facts(item: Link) -> Facts:
    facts: Facts = {
        "kind": kind_words(item)[0],
        "master": item.master,
        "alias": item.alias,
        "up": item.up,
    }
    for name in ("mtu", "mac", "hairpin"):
        if getattr(item, name) is not None:
            facts[name] = getattr(item, name)
    if isinstance(item.kind, Vxlan):
        kind = item.kind
        local = "local" if kind.local.version == 4 else "local6"
        facts["data"] = {
            "id": kind.vni,
            "link": kind.underlay,
            "port": kind.port,
            "learning": kind.learning,
            "gbp": kind.gbp,
            local: str(kind.local),
            "udp_csum": True,
        }
    return facts


def _route_facts(item: Route) -> Facts:
    hops: list[Facts] = [
        {
            "dev": hop.dev,
            "via": str(hop.via or ""),
            "onlink": hop.onlink,
            "weight": getattr(hop, "weight", 1),
        }
        for hop in item.nexthops or ((item,) if item.kind == "unicast" else ())
    ]
    return {
        "type": {"unicast": "1", "blackhole": "6", "unreachable": "7"}[item.kind],
        "protocol": str(item.protocol),
        "ways": hops,
        "prefsrc": str(item.src or ""),
        "mtu": item.mtu,
        "scope": "253" if item.scope == "link" else "0",
    }


def _ways(route: Facts) -> list[Facts]:
    if route["type"] != "1":
        return []
    return [
        {
            "dev": hop["dev"],
            "via": hop.get("gateway", ""),
            "onlink": "onlink" in hop["flags"],
            "weight": hop.get("weight", 1),
        }
        for hop in route.get("nexthops", [route])
    ]


def _known_data(data: Facts) -> Facts:
    names = {"id", "link", "port", "learning", "local", "local6", "udp_csum"}
    known = {name: value for name, value in data.items() if name in names}
    return {**known, "gbp": data.get("gbp", False)} if "id" in data else known


def _rule_prefix(item: Facts, name: str) -> str:
    if item.get(name, "all") == "all":
        return ""
    return f"{item[name]}/{item.get(name + 'len', 128 if ':' in item[name] else 32)}"
