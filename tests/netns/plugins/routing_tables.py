"""Routes of tables of any number, as `ip` lists them: what tests of ``sbr`` and ``vrf`` look at."""

import json

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document


def routes_in(netns: Netns, table: str) -> set[tuple[str, ...]]:
    """Return the routes to other hosts: where to, by which gateway, device and source.

    Args:
        netns: whose table it is.
        table: its number or name; one that is not there has no routes.
    """
    listed: list[Document] = []
    for family in ("-4", "-6"):
        text = netns.exec("sh", "-c", f"ip -j {family} route show table {table} 2>&1 || true")
        listed += json.loads(text) if text.startswith("[") else []
    return {
        tuple(str(each.get(key, "")) for key in ("dst", "gateway", "dev", "prefsrc"))
        for each in listed
        if each.get("type", "unicast") == "unicast"
    }
