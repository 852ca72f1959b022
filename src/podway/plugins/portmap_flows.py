"""UDP connections to published ports that the kernel tracks from before: forgotten.

In: what is published. Out: nothing. Called after rules were written or removed. Why: UDP has no
end, so whoever goes on sending (a DNS client, a media stream) is sent where the rules said when he
began: to the host itself, or to a container that is gone. The reference plugin forgets every UDP
connection to the port, to whatever address; this one those that its rules are about, to addresses
of the host's own.
"""

from podway.cni.addresses import parse_address
from podway.netlink.addresses import dump_addresses
from podway.netlink.conntrack import (
    ConntrackSocket,
    destination_of,
    dump_connections,
    source_of,
)
from podway.netlink.constants import AF_INET, AF_INET6
from podway.netlink.errors import NetlinkError
from podway.netlink.socket import NetlinkSocket
from podway.plugins.process import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.netlink.conntrack import ConntrackMessage
    from podway.plugins.portmap_conf import PortMapping, Publication

_UDP: "Final" = 17
_FAMILIES: "Final" = {4: AF_INET, 6: AF_INET6}


def forget_udp(wanted: "Publication") -> None:
    """Forget UDP connections to the host's published ports.

    What cannot be forgotten is said on standard error: the ports are published all the same.
    """
    mappings = [each for each in wanted.conf.mappings if each.protocol == "udp"]
    if not mappings:
        return
    try:
        with ConntrackSocket() as conntrack:
            found = [
                connection
                for family in _FAMILIES
                for mapping in mappings
                if mapping.family in {0, family}
                for connection in _find(conntrack, mapping, family)
            ]
            errors = conntrack.forget(_to_this_host(found)) if found else []
    except NetlinkError as refusal:
        errors = [refusal]
    for error in errors:
        complain(f"UDP connections from before may go astray: {error}")


def _find(
    conntrack: ConntrackSocket, mapping: "PortMapping", family: int
) -> "list[ConntrackMessage]":
    found = conntrack.dump(dump_connections(_FAMILIES[family], _UDP, mapping.host_port))
    if not mapping.host_address:
        return found
    packed = parse_address(mapping.host_address)
    return [each for each in found if destination_of(each["tuple_orig"]) == packed]


def _to_this_host(connections: "list[ConntrackMessage]") -> "list[ConntrackMessage]":
    """Return those to one of the host's addresses, or that are translated already."""
    with NetlinkSocket() as host:
        own = {each.get("local", each.get("address")) for each in host.dump(dump_addresses())}
    return [
        each
        for each in connections
        if destination_of(each["tuple_orig"]) in own
        or destination_of(each["tuple_orig"])[:1] == b"\x7f"
        or destination_of(each["tuple_orig"]) != source_of(each.get("tuple_reply", {}))
    ]
