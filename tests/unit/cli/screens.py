"""What tests of screens have in common: styles, an agent's status, a moment."""

from typing import Any

from podway.cli.output import Style

NOW = 1_800_000_000.0
PLAIN, COLOURED = Style(), Style(coloured=True)


def peer(number: int, state: str = "programmed", reason: str = "") -> dict[str, Any]:
    return {
        "name": f"n{number}",
        "public_ips": [f"172.30.{number}.2"],
        "subnets": [f"10.244.{number}.0/24"],
        "state": state,
        "reason": reason,
    }


def status(**fields: Any) -> dict[str, Any]:
    return {
        "node": "n1",
        "backend": "vxlan",
        "attach": "bridge",
        "network": ["10.244.0.0/16", "fd00:10:244::/48"],
        "subnets": ["10.244.1.0/24", "fd00:10:244:1::/64"],
        "mtu": {"ipv4": 1450, "ipv6": 1430},
        "uplink": {"dev": "eth0", "mtu": 1500, "addresses": ["172.30.1.2/16"]},
        "store": {
            "url": "tcp:172.30.0.2:7472",
            "state": "connected",
            "since_s": 754.2,
            "revision": 12,
            "reason": "",
        },
        "ready": True,
        "ready_reasons": [],
        "peers": [peer(2), peer(3)],
        "endpoints": 2,
        "addresses": {
            "used": 2,
            "cooling": 1,
            "free": 250 + 2**64 - 3,
            "ipv4": {"used": 1, "cooling": 1, "free": 250},
            "ipv6": {"used": 1, "cooling": 0, "free": 2**64 - 3},
        },
        "drift_repaired": 0,
        "conflicts": [],
        "failing": [],
        "last_reconcile": {"operations": 4, "failed": 0, "duration_ms": 3.14, "at": NOW - 12},
        **fields,
    }


def lines(shown: list[str]) -> str:
    return "\n".join(shown) + "\n"
