"""Calls as plugins get them, from a configuration written in a test."""

import json
from typing import Any

from podway.cni.requests import parse_request
from podway.plugins.skeleton import Call


def call_of(config: dict[str, Any], command: str = "ADD", **variables: str) -> Call:
    """Return the call that a runtime would make with *config*."""
    document = {"cniVersion": "1.1.0", "name": "net", "type": "test", **config}
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/run/netns/c1",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
        **variables,
    }
    stdin = json.dumps(document).encode()
    return Call(request=parse_request(environment, stdin), stdin=stdin)
