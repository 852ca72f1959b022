"""Deletions of nftables, found and committed in one transaction, however many callers there are.

In: a function that finds what is to be deleted. Out: it is gone. Called by every DEL and GC that
has rules. Why it is here: between finding and deleting somebody else may delete the same, and then
nothing of the transaction happens.
"""

from errno import EBUSY

from podway.netlink.errors import NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from podway.netlink.messages import Request
    from podway.netlink.nft_transactions import NftSocket

# How often to look again when somebody else deletes what was found.
_ATTEMPTS: "Final" = 5


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
