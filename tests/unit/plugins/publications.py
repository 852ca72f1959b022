"""Ports that are published, and the configurations that ask for it."""

from typing import Any

from podway.plugins.portmap_conf import PortmapConf, Publication, parse_portmap_conf
from unit.plugins.plugin_calls import call_of

TCP = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}


def parse(*mappings: dict[str, Any], **keys: Any) -> PortmapConf:
    config = {"runtimeConfig": {"portMappings": list(mappings)}, **keys}
    return parse_portmap_conf(call_of(config).request)


def publish(*mappings: dict[str, Any], **keys: Any) -> Publication:
    return Publication(
        network="n",
        container_id="c",
        ifname="eth0",
        conf=parse(*(mappings or (TCP,)), **keys),
        addresses={4: "10.1.0.5/24", 6: "fd00::5/64"},
    )
