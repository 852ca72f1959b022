"""Masquerade: a container's traffic to the outside bears the node's address (``ipMasq``).

In: a request, its configuration. Out: `Masquerade`, what is masqueraded for an attachment, and the
names of it in netfilter: tables, chains, comments, as the reference plugins have them, so that a
node may change between the implementations. Pure. The rules: `masquerade_rules`.
"""

from podway.cni.values import Value
from podway.plugins.digests import sha512_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.fields import Fields
    from podway.cni.requests import Request

BACKENDS: "Final" = ("iptables", "nftables")
# By iptables.
TABLE: "Final" = "nat"
POSTROUTING: "Final" = "POSTROUTING"
MULTICAST: "Final" = {4: "224.0.0.0/4", 6: "ff00::/8"}
_CHAIN_DIGITS: "Final" = 24
# By nftables.
NFT_TABLE: "Final" = "cni_plugins_masquerade"
NFT_CHAIN: "Final" = "masq_checks"


class Masquerade(Value):
    """What is masqueraded for one attachment.

    Attributes:
        network: its name.
        container_id: of the container.
        ifname: of the interface.
        cidrs: its addresses with prefix length, in canonical form; what stays inside a subnet is
            not masqueraded.
    """

    network: str
    container_id: str
    ifname: str
    cidrs: tuple[str, ...] = ()


def masquerade_of(request: "Request", cidrs: "tuple[str, ...]" = ()) -> Masquerade:
    """Return what is masqueraded for the attachment of *request*."""
    return Masquerade(
        network=request.config.name,
        container_id=request.container_id,
        ifname=request.ifname,
        cidrs=cidrs,
    )


def parse_backend(fields: "Fields") -> str:
    """Return ``ipMasqBackend``, "" where the system decides.

    Raises:
        CniError: INVALID_CONFIG.
    """
    return fields.choice("ipMasqBackend", BACKENDS)


def chain_name(network: str, container_id: str) -> str:
    """Return the chain of a container in a network."""
    return f"CNI-{sha512_hex(network + container_id)[:_CHAIN_DIGITS]}"


def comment_start(network: str) -> str:
    """Return what the comments of all rules of a network begin with."""
    return f'name: "{network}" id: "'


def comment_text(network: str, container_id: str) -> str:
    """Return the comment of a container's rules."""
    return f'{comment_start(network)}{container_id}"'


def cidrs_of(wanted: Masquerade, family: int) -> list[str]:
    """Return the addresses of family 4 or 6."""
    return [cidr for cidr in wanted.cidrs if (":" in cidr) is (family == 6)]


def host_prefix(cidr: str) -> str:
    """Return the address of *cidr* alone, as iptables prints it: ``10.1.0.5/32``."""
    address = cidr.partition("/")[0]
    return f"{address}/{128 if ':' in address else 32}"
