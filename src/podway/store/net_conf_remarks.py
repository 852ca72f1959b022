"""What is told of a network configuration that is used although not all of it is understood.

In: the text as it stands in a store. Out: a line in the log for each key that is passed over.
Called wherever a store's client or a hub takes a configuration up; the same text is told of once,
however often a watch begins anew.
"""

import logging
from functools import lru_cache

from podway.model.unknown_keys import find_unknown_keys

_log = logging.getLogger("podway.store")


@lru_cache(maxsize=4)
def tell_unknown_keys(text: bytes | str) -> None:
    """Log each key of net-conf.json *text* that is passed over, unless that was done before."""
    for unknown in find_unknown_keys(text):
        fields = {"key": unknown.key, "nearest": unknown.nearest}
        _log.warning("key of the network configuration passed over", extra={"fields": fields})
