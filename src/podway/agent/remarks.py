"""What many things may have at once is logged for some of them: a log is no list.

In: what is new, as fields of log lines. Out: a line for each of the first, and one that counts the
rest; `podway status` names them all. Called after a pass by who compared with what was told before.
"""

from collections.abc import Sequence

from podway.kernel.logs import Log

_TOLD_AT_ONCE = 10


def tell_some(log: Log, one: str, more: str, news: Sequence[dict[str, str]]) -> None:
    """Log the first of *news* as *one*, each with its fields, and how many others as *more*."""
    for fields in news[:_TOLD_AT_ONCE]:
        log.warning(one, **fields)
    if len(news) > _TOLD_AT_ONCE:
        log.warning(more, more=len(news) - _TOLD_AT_ONCE)
