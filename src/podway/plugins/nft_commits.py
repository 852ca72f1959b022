"""Deletions of nftables, found and committed in one transaction, however many callers there are.

In: a function that finds what is to be deleted. Out: it is gone. Called by every DEL and GC that
has rules. Why it is here: between finding and deleting somebody else may delete the same, and then
nothing of the transaction happens.
"""

from errno import EBUSY, EINVAL, EPROTONOSUPPORT

from podway.netlink.constants import NFPROTO_IPV4
from podway.netlink.errors import NetlinkError
from podway.netlink.nft_transactions import NftSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from podway.netlink.messages import Request

# How often to look again when somebody else deletes what was found.
_ATTEMPTS: "Final" = 5
# What a kernel says that has no nfnetlink, or no nf_tables (nfnetlink_rcv_msg).
_HAS_NONE: "Final" = frozenset({EPROTONOSUPPORT, EINVAL})


def open_if_any() -> NftSocket | None:
    """Return a socket; None on a kernel without nf_tables, where no rule can be left.

    For a DEL whose configuration asks for no rules: when the attachment was made it may have.

    Raises:
        NetlinkError: there are some, and the kernel refuses.
    """
    try:
        nft = NftSocket()
        nft.has_chain(NFPROTO_IPV4, "nat", "POSTROUTING")
    except NetlinkError as error:
        if error.errno in _HAS_NONE:
            return None
        raise
    return nft


def commit_found(nft: "NftSocket", find: "Callable[[], list[Request[Any]]]") -> bool:
    """Commit what *find* finds, anew if somebody was faster; tell if there was anything.

    Raises:
        NetlinkError: the kernel refuses.
    """
    for attempt in range(_ATTEMPTS):
        requests = find()
        try:
            nft.commit(requests)
        except NetlinkError as error:
            is_momentary = error.is_not_found or error.errno == EBUSY
            if not is_momentary or attempt == _ATTEMPTS - 1:
                raise
        else:
            return bool(requests)
    raise AssertionError("the last attempt returns or raises")
