"""Takes away what ``bandwidth`` made: DEL, and GC.

In: a call, which may know neither namespace nor prevResult. Out: the ifb device is gone, and the
host's end of the attachment, if there is one still, has no limit. The redirection goes first: what
a container sends to an ifb device that is gone is lost.
"""

from errno import EBUSY, EINVAL
from time import monotonic, sleep

from podway.cni.errors import CniError
from podway.netlink.constants import TC_H_INGRESS, TC_H_ROOT
from podway.netlink.errors import NetlinkError
from podway.netlink.links import dump_links
from podway.netlink.socket import NetlinkSocket
from podway.netlink.traffic_control import delete_qdisc, dump_qdiscs
from podway.netlink.traffic_filters import dump_filters
from podway.plugins.bandwidth_conf import BandwidthConf, parse_conf
from podway.plugins.bandwidth_devices import KIND, PREFIX, find_host_end, find_ifbs, ifb_name
from podway.plugins.bandwidth_plans import INGRESS, ROOT
from podway.plugins.lingering import LinkDeletion
from podway.plugins.marks import network_mark, valid_marks
from podway.plugins.undo import attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.traffic_control import TrafficMessage
    from podway.plugins.skeleton import Call

_SHAPERS: "Final" = ("tbf", "htb")
# A qdisc cannot go while somebody reads or changes its filters, which is a matter of microseconds.
_BUSY_S: "Final" = 2.0
_BUSY_POLL_S: "Final" = 0.001


def delete(call: "Call") -> None:
    """Take away the ifb device and what is on the host's end.

    Raises:
        NetlinkError: something is still there.
    """
    with NetlinkSocket() as host:
        ifbs = [link["index"] for link in find_ifbs(host, call)]
        outer = None
        if call.netns is not None:
            outer = find_host_end(host, call.netns, call.request.ifname)
        if outer is None:
            attempt_all(*(LinkDeletion(index).wait for index in ifbs))
            return
        conf = _readable_conf(call)
        _remove_redirection(host, outer["index"], ifbs, conf)
        # While the devices go.
        deletions = [LinkDeletion(index) for index in ifbs]
        attempt_all(
            lambda: _remove_shaper(host, outer["index"], conf),
            *(deletion.wait for deletion in deletions),
        )


def _readable_conf(call: "Call") -> BandwidthConf:
    """Return the configuration; one that breaks a rule has no limits: ADD made nothing of it."""
    try:
        return parse_conf(call.config)
    except CniError:
        return BandwidthConf(ingress=None, egress=None)


def _remove_redirection(
    host: NetlinkSocket, index: int, ifbs: list[int], conf: BandwidthConf
) -> None:
    """Delete the qdisc that leads to one of *ifbs*, to a device that is gone (0), or nowhere."""
    filters = _dump_ingress(host, index)
    targets = {target for each in filters for target in redirected_to(each)}
    if targets & {0, *ifbs} or (conf.egress and not filters):
        _delete_if_any(
            host, {"ifindex": index, "parent": TC_H_INGRESS, "handle": INGRESS, "kind": "ingress"}
        )


def _dump_ingress(host: NetlinkSocket, index: int) -> "list[TrafficMessage]":
    """Return the filters of what comes in by a device; of one that is gone there are none."""
    try:
        return host.dump(dump_filters(index, INGRESS))
    except NetlinkError as error:
        if error.is_not_found:
            return []
        raise


def redirected_to(message: "TrafficMessage") -> set[int]:
    """Return the devices to which a filter leads."""
    options = message.get("options")
    actions = options.get("act", ()) if isinstance(options, dict) else ()
    return {
        action["options"]["parms"]["ifindex"]
        for action in actions
        if action.get("kind") == "mirred" and "parms" in action.get("options", {})
    }


def _remove_shaper(host: NetlinkSocket, index: int, conf: BandwidthConf) -> None:
    """Delete the qdisc of what the container receives, if the configuration has a limit."""
    for kind in _SHAPERS if conf.ingress else ():
        _delete_if_any(host, {"ifindex": index, "parent": TC_H_ROOT, "handle": ROOT, "kind": kind})


def _delete_if_any(host: NetlinkSocket, qdisc: "TrafficMessage") -> None:
    """Delete a qdisc; none, or another one, is no error (EINVAL: other kind or handle).

    EBUSY: somebody else has a request for its filters under way (net/sched/sch_api.c, qdisc_graft).
    """
    deadline = monotonic() + _BUSY_S
    while True:
        try:
            host.request(delete_qdisc(qdisc))
        except NetlinkError as error:
            if error.errno == EBUSY and monotonic() < deadline:
                sleep(_BUSY_POLL_S)
                continue
            if not error.is_not_found and error.errno != EINVAL:
                raise
        return


def gc(call: "Call") -> None:
    """Delete ifb devices of attachments that are not valid any more.

    Those with a mark of this network go by the mark. One without is the reference plugin's, of any
    network: it goes when it is complete and nothing leads to it, since then its container is gone.
    """
    with NetlinkSocket() as host:
        links = host.dump(dump_links(kind=KIND))
        start, valid = network_mark(call.config.name), valid_marks(call.request)
        stale = [
            link
            for link in links
            if link.get("ifalias", "").startswith(start) and link["ifalias"] not in valid
        ]
        stale += _find_abandoned(host, call, links)
    deletions = [LinkDeletion(link["index"]) for link in stale]
    attempt_all(*(deletion.wait for deletion in deletions))


def _find_abandoned(
    host: NetlinkSocket, call: "Call", links: "list[LinkMessage]"
) -> "list[LinkMessage]":
    """Return the reference plugin's ifb devices to which no filter leads."""
    valid = {
        ifb_name(call.config.name, each.container_id)
        for each in call.config.valid_attachments or ()
    }
    unmarked = [
        link
        for link in links
        if link["ifname"].startswith(PREFIX)
        and not link.get("ifalias")
        and link["ifname"] not in valid
    ]
    if not unmarked:
        return []
    qdiscs = host.dump(dump_qdiscs())
    # The shaper is made last: a device without one may be in the making.
    complete = {each["ifindex"] for each in qdiscs if each.get("kind") in _SHAPERS}
    used = {
        target
        for qdisc in qdiscs
        if qdisc.get("kind") == "ingress"
        for each in _dump_ingress(host, qdisc["ifindex"])
        for target in redirected_to(each)
    }
    return [link for link in unmarked if link["index"] in complete - used]
