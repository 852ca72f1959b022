"""What ``sbr`` finds in a container: routes of an interface, rules by source.

In: a socket in the container's namespace. Out: messages. Called by ADD, CHECK and DEL.
"""

from podway.netlink.constants import (
    FR_ACT_TO_TBL,
    RT_TABLE_COMPAT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
)
from podway.netlink.rules import dump_rules
from podway.plugins.routing_tables import table_routes
from podway.plugins.sbr_plans import FIRST_TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.netlink.route_messages import RouteMessage
    from podway.netlink.rules import RuleMessage
    from podway.netlink.socket import NetlinkSocket

# What a rule says that only looks at where a packet comes from; the rest must say nothing.
_PLAIN: "Final" = frozenset(
    {
        *("family", "src", "src_len", "table", "action", "priority", "protocol"),
        "suppress_prefixlen",
    }
)
# suppress_prefixlen of a rule that suppresses nothing.
_NOTHING: "Final" = (1 << 32) - 1


def main_routes(inside: "NetlinkSocket", index: int) -> "list[RouteMessage]":
    """Return the routes of the main table by a device."""
    return table_routes(inside, RT_TABLE_MAIN, index)


def rules_by_source(
    inside: "NetlinkSocket", addresses: "set[bytes]", table: int | None
) -> "list[RuleMessage]":
    """Return the rules that lead from one of *addresses* to a table, and look at nothing else.

    Args:
        inside: in the container's namespace.
        addresses: packed.
        table: that they lead to; None for those that ADD may have chosen.
    """
    return [
        rule
        for rule in inside.dump(dump_rules())
        if rule.get("src") in addresses
        and rule["src_len"] == len(rule["src"]) * 8
        and rule["action"] == FR_ACT_TO_TBL
        and not _selectors(rule) - _PLAIN
        and _is_chosen(rule["table"], table)
    ]


def _is_chosen(found: int, table: int | None) -> bool:
    if table is not None:
        return found == table
    return found >= FIRST_TABLE and not RT_TABLE_COMPAT <= found <= RT_TABLE_LOCAL


def _selectors(rule: "RuleMessage") -> set[str]:
    """Return what a rule says that is not nothing."""
    said = {key for key, value in rule.items() if value}
    return said - {"suppress_prefixlen"} if rule.get("suppress_prefixlen") == _NOTHING else said
