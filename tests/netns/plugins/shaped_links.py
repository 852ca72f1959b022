"""A container behind ``ptp`` whose link ``bandwidth`` shapes, and its qdiscs as `tc` lists them."""

import json
from typing import Any

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of

BOTH = {
    "ingressRate": 8_000_000,
    "ingressBurst": 800_000,
    "egressRate": 16_000_000,
    "egressBurst": 1_600_000,
}


def bandwidth(**keys: Any) -> Document:
    return config_of("bandwidth", **keys)


def attach(runtime: Runtime, pod: Netns, **told: Any) -> Document:
    """Attach a container by ``ptp``; return the result, as `bandwidth` gets it."""
    config = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24", "fd01::/64"))
    return runtime.add(config, pod, **told)


def host_end(result: Document) -> str:
    return str(result["interfaces"][0]["name"])


def tc(netns: Netns, *words: str) -> list[Document]:
    listed: list[Document] = json.loads(netns.exec("tc", "-j", "-d", *words))
    return listed


def qdiscs(netns: Netns, device: str) -> dict[str, Document]:
    """Return what is on a device, by kind, but for what is on every device."""
    listed = tc(netns, "qdisc", "show", "dev", device)
    return {each["kind"]: each for each in listed if each["kind"] != "noqueue"}


def filters(netns: Netns, device: str, parent: str) -> list[Document]:
    listed = tc(netns, "filter", "show", "dev", device, "parent", parent)
    return [each for each in listed if "match" in each.get("options", {})]
