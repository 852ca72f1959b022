"""DEL of ``vrf``: the interface is part of nothing, and a VRF without interfaces is gone.

In: a call. Out: nothing. A namespace that is gone took everything along. A device that is called as
the VRF and is none is somebody else's.
"""

from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, dump_links
from podway.netlink.socket import NetlinkSocket
from podway.plugins.container_links import link_kind
from podway.plugins.interfaces import find_link
from podway.plugins.lingering import LinkDeletion
from podway.plugins.routing_tables import lock_namespace
from podway.plugins.vrf_conf import KIND, parse_conf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.skeleton import Call


def delete(call: "Call") -> None:
    """Take the interface out of the VRF, and delete that if it has no other.

    Raises:
        CniError: INVALID_CONFIG.
        NetlinkError: the kernel refuses.
    """
    conf = parse_conf(call.request)
    if call.netns is None:
        return
    lock_namespace(call.netns)
    with NetlinkSocket(netns_fd=call.netns) as inside:
        vrf = find_link(inside, conf.name)
        if vrf is None or link_kind(vrf) != KIND:
            return
        link = find_link(inside, call.request.ifname)
        if link is not None and link.get("master") == vrf["index"]:
            _release(inside, link["index"])
        if inside.dump(dump_links(master=vrf["index"])):
            return
        LinkDeletion(vrf["index"], call.netns).wait()


def _release(inside: NetlinkSocket, index: int) -> None:
    """Make an interface part of nothing; one that is gone is no error."""
    try:
        inside.request(change_link({"index": index, "master": 0}))
    except NetlinkError as error:
        if not error.is_not_found:
            raise
