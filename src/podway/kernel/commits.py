"""Commits of nftables, from their notifications: what became of tables, and who touched FORWARD.

In: nfnetlink notifications, in the kernel's order; a commit ends with its generation. Out: the
tables that others changed, by key. Called by `podway.kernel.events`. Why it is hard: nothing says
whose a commit is, so of the notifications that came while we made one ourselves, a single commit is
ours, and of several all count: `known` tells afterwards which of them were no news.
"""

from collections.abc import Callable, Iterable

from podway.kernel.forward_plans import concerns_forward
from podway.kernel.known import Known
from podway.kernel.tables import FAMILIES, changed
from podway.model.instances import Marks
from podway.model.kernel import Key, NftTable
from podway.netlink.events import Event


class Commits:
    """The commits of one namespace.

    Args:
        known: what we wrote and read; a table that has a key there matters.
        marks: tell what is ours.
        is_drop: tells whether a notification is about a chain of somebody else's that may drop what
            is forwarded.

    Attributes:
        forward: a chain at hook forward was touched; the owner takes it back.
    """

    def __init__(self, known: Known, marks: Marks, is_drop: Callable[[Event], bool]) -> None:
        self._known = known
        self._marks = marks
        self._is_drop = is_drop
        self._tables: dict[Key, NftTable | None] = {}
        self.forward = False

    def take(self, events: Iterable[Event], *, own: bool = False) -> dict[Key, NftTable | None]:
        """Return the tables in the commits that ended with *events*; None for one that went.

        Args:
            events: the notifications; the last one of a commit is its generation.
            own: we just made a commit ourselves. If there is but one, it is that.
        """
        commits: list[dict[Key, NftTable | None]] = []
        for event in events:
            if event.name == "NFT_MSG_NEWGEN":
                commits.append(self._tables)
                self._tables = {}
            else:
                self._table(event)
        if own and len(commits) == 1:
            return {}
        return {key: table for tables in commits for key, table in tables.items()}

    def _table(self, event: Event) -> None:
        family = FAMILIES.get(event.fields.get("family", 0), "")
        name = event.fields.get("table", "")
        key = NftTable(family, name, "").key
        if name == self._marks.table or key in self._known:
            gone = event.name == "NFT_MSG_DELTABLE"
            self._tables[key] = None if gone else changed(family, name)
        if concerns_forward(event, self._marks.forward_chain) or self._is_drop(event):
            self.forward = True
