"""A host's device with all that it can lose by going to a container, and what `ip` says of it."""

import json
from pathlib import Path
from typing import Any

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, link_of

MAC = "0a:00:00:00:00:01"


def make_device(host: Netns) -> None:
    """Give the host the device dev0."""
    host.ip("link", "add", "dev0", "address", MAC, "type", "veth", "peer", "name", "wire")
    host.ip("link", "set", "wire", "up")
    host.ip("link", "set", "dev0", "alias", "the uplink", "mtu", "1400")
    for address in ("192.0.2.2/24", "192.0.2.3/24", "198.51.100.2/32"):
        host.ip("addr", "add", address, "dev", "dev0")
    host.ip("addr", "add", "203.0.113.2", "peer", "203.0.113.1", "dev", "dev0", "label", "dev0:p")
    host.ip("addr", "add", "2001:db8::2/64", "dev", "dev0", "nodad")
    host.ip("link", "set", "dev0", "up")
    host.ip("route", "add", "default", "via", "192.0.2.1", "metric", "50")
    host.ip("route", "add", "10.0.0.0/8", "via", "192.0.2.9", "src", "192.0.2.3", "mtu", "1300")
    host.ip("route", "add", "10.5.0.0/16", "dev", "dev0", "table", "77", "proto", "static")
    host.ip("route", "add", "10.7.0.0/16", "via", "172.16.0.1", "dev", "dev0", "onlink")
    host.ip("-6", "route", "add", "default", "via", "2001:db8::1", "src", "2001:db8::2")


def host_device(runtime: Runtime, **keys: Any) -> Document:
    """Return a configuration; the device's files are the test's own."""
    told = {"device": "dev0", "dataDir": str(runtime.directory / "state"), **keys}
    return config_of("host-device", **told)


def with_ipam(runtime: Runtime, **keys: Any) -> Document:
    routes = [{"dst": "0.0.0.0/0"}]
    return host_device(
        runtime, ipam=runtime.ipam("10.1.0.0/24", "fd01::/64", routes=routes), **keys
    )


def files(runtime: Runtime) -> list[Path]:
    """Return the files of devices that are away."""
    directory = runtime.directory / "state"
    return list(directory.iterdir()) if directory.exists() else []


def everything(host: Netns) -> list[object]:
    """Return what `ip` says of dev0, and of all routes."""
    link = link_of(host, "dev0")
    kept = ("ifname", "ifalias", "address", "mtu", "master", "group")
    addresses = json.loads(host.ip("-j", "addr", "show", "dev", "dev0"))
    routes = [
        route
        for family in ("-4", "-6")
        for route in json.loads(host.ip("-j", family, "route", "show", "table", "all"))
        if route.get("type") not in {"local", "broadcast", "multicast", "anycast"}
        and route.get("dev") != "wire"
        and not route["dst"].startswith("fe80:")
    ]
    return [
        {key: link.get(key) for key in kept},
        "UP" in link["flags"],
        [
            {key: value for key, value in each.items() if not key.endswith("_life_time")}
            for address in addresses
            for each in address.get("addr_info", ())
            if each["scope"] != "link"
        ],
        sorted((_in_order(route) for route in routes), key=str),
    ]


def _in_order(route: Document) -> Document:
    """Return a route whose lists, which have no order that matters, have one that compares."""
    ways = sorted(route.get("nexthops", ()), key=str)
    return {**route, "flags": sorted(route["flags"]), "nexthops": ways}
