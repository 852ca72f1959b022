"""Names of masquerade in iptables: chains, comments, prefixes, as the reference plugins have them.

In: `Masquerade`. Out: text. Pure; called by `masquerade_iptables` and `masquerade_lines`.
"""

from podway.plugins.digests import sha512_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.plugins.masquerade import Masquerade

TABLE: "Final" = "nat"
POSTROUTING: "Final" = "POSTROUTING"
MULTICAST: "Final" = {4: "224.0.0.0/4", 6: "ff00::/8"}
_CHAIN_DIGITS: "Final" = 24


def chain_name(network: str, container_id: str) -> str:
    """Return the chain of a container in a network."""
    return f"CNI-{sha512_hex(network + container_id)[:_CHAIN_DIGITS]}"


def comment_start(network: str) -> str:
    """Return what the comments of all rules of a network begin with."""
    return f'name: "{network}" id: "'


def comment_text(network: str, container_id: str) -> str:
    """Return the comment of a container's rules."""
    return f'{comment_start(network)}{container_id}"'


def cidrs_of(wanted: "Masquerade", family: int) -> list[str]:
    """Return the addresses of family 4 or 6."""
    return [cidr for cidr in wanted.cidrs if (":" in cidr) is (family == 6)]


def host_prefix(cidr: str) -> str:
    """Return the address of *cidr* alone, as iptables prints it: ``10.1.0.5/32``."""
    address = cidr.partition("/")[0]
    return f"{address}/{128 if ':' in address else 32}"
