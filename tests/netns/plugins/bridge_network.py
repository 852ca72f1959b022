"""A network by ``bridge`` and ``host-local``, and its rules as iptables and nft list them."""

from typing import Any

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, saved_table

FOUR, SIX = "10.1.0.0/24", "fd01::/64"
MAC = "0a:00:00:00:00:01"


def bridge(runtime: Runtime, *subnets: str, **keys: Any) -> Document:
    """Return a configuration with IPAM by host-local."""
    # The original fails if IPAM has a default route besides.
    routes = [] if keys.get("isDefaultGateway") else [{"dst": "0.0.0.0/0"}]
    ipam = runtime.ipam(*(subnets or (FOUR,)), routes=routes)
    return config_of("bridge", **{"bridge": "br0", "ipam": ipam, **keys})


def nat_rules(netns: Netns) -> list[str]:
    """Return chains and rules of table nat, of both families, without counters."""
    return [line for line in saved_table(netns, "nat") if line.startswith(("-A", ":CNI"))]


def ruleset(netns: Netns) -> str:
    return netns.exec("nft", "list", "ruleset")
