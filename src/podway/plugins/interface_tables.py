"""Where else than in the main table an interface's routes may be, and still do their work.

In: an interface, and a route that the main table lacks. Out: whether it is in the table of the VRF
that the interface is part of, or in one to which a rule leads from one of its addresses. Called by
CHECK of main plugins: ``vrf`` and ``sbr``, later in a list, have moved what they made.
"""

from podway.netlink.addresses import dump_addresses
from podway.netlink.links import get_link
from podway.netlink.rules import dump_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.socket import NetlinkSocket

_VRF: str = "vrf"


def other_tables(netlink: "NetlinkSocket", link: "LinkMessage") -> set[int]:
    """Return the tables in which routes of *link* are looked for, besides main."""
    return _tables_by_source(netlink, link["index"]) | _table_of_vrf(netlink, link)


def _table_of_vrf(netlink: "NetlinkSocket", link: "LinkMessage") -> set[int]:
    master = netlink.request(get_link({"index": link["master"]})) if link.get("master") else None
    info = master.get("linkinfo", {}) if master else {}
    return {info["data"]["table"]} if info.get("kind") == _VRF else set()


def _tables_by_source(netlink: "NetlinkSocket", index: int) -> set[int]:
    own = {
        each.get("local", each.get("address")) for each in netlink.dump(dump_addresses(index=index))
    }
    return {
        rule["table"]
        for rule in netlink.dump(dump_rules())
        if rule.get("src") in own and rule["src_len"] == len(rule["src"]) * 8
    }
