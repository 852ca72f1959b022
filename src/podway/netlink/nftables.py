"""Notifications of nftables: which table changed, and by whom.

Comes in: messages of group NFNLGRP_NFTABLES. Goes out: an `NftMessage` that says whose table (or
chain, set, ...) was written or deleted. Rules are written by libnftables, not from here; this is
only what is needed to see that somebody touched our table. nfnetlink's header, after nlmsghdr with
``type = subsystem << 8 | message``::

    +---------------+---------------+-------------------------------+
    | family NFPROTO|   version 0   |  res_id (big endian): the     |
    |               |               |  generation modulo 2^16       |
    +---------------+---------------+-------------------------------+

After the messages of one transaction comes NFT_MSG_NEWGEN: the new generation's id, and the id and
name of the process that committed it.

Sources: include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h, net/netfilter/nf_tables_api.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import BE32, TEXT
from podway.netlink.attributes import AttributeSet, Nested
from podway.netlink.constants import (
    NFNL_SUBSYS_NFTABLES,
    NFT_MSG_DELCHAIN,
    NFT_MSG_DELFLOWTABLE,
    NFT_MSG_DELOBJ,
    NFT_MSG_DELRULE,
    NFT_MSG_DELSET,
    NFT_MSG_DELSETELEM,
    NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWFLOWTABLE,
    NFT_MSG_NEWGEN,
    NFT_MSG_NEWOBJ,
    NFT_MSG_NEWRULE,
    NFT_MSG_NEWSET,
    NFT_MSG_NEWSETELEM,
    NFT_MSG_NEWTABLE,
)
from podway.netlink.messages import Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class NftMessage(TypedDict, total=False):
        """What one notification is about.

        ``family`` is NFPROTO_*; ``name`` is the object's own name (of a chain, set, object or
        flow table; a table's name is in ``table``); ``chain`` is the chain of a rule; ``hook``
        says where a base chain stands. A generation has ``gen_id``, ``proc_pid`` and ``proc_name``
        alone.
        """

        family: int
        version: int
        res_id: int
        table: str
        name: str
        chain: str
        hook: Mapping[str, Any]
        set: str
        gen_id: int
        proc_pid: int
        proc_name: str


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    del name_of
    return f"nft table {fields.get('table', '')}"


def _schema(noun: str, *rows: tuple[int, str, Any]) -> Schema[NftMessage]:
    attributes = AttributeSet(f"NFTA_{noun.upper()}", rows)
    return Schema(f"nft {noun}", ">BBH", ("family", "version", "res_id"), attributes, _describe)


_TABLE = _schema("table", (1, "table", TEXT))
_HOOK = AttributeSet("NFTA_HOOK", ((1, "hooknum", BE32),))
_CHAIN = _schema("chain", (1, "table", TEXT), (3, "name", TEXT), (4, "hook", Nested(_HOOK)))
_RULE = _schema("rule", (1, "table", TEXT), (2, "chain", TEXT))
_SET = _schema("set", (1, "table", TEXT), (2, "name", TEXT))
_SETELEM = _schema("set_elem_list", (1, "table", TEXT), (2, "set", TEXT))
_OBJ = _schema("obj", (1, "table", TEXT), (2, "name", TEXT))
_FLOWTABLE = _schema("flowtable", (1, "table", TEXT), (2, "name", TEXT))
_GEN = _schema("gen", (1, "gen_id", BE32), (2, "proc_pid", BE32), (3, "proc_name", TEXT))

# By nlmsg_type: the message's name and its shape.
NFT_MESSAGES: Mapping[int, tuple[str, Schema[NftMessage]]] = {
    (NFNL_SUBSYS_NFTABLES << 8) | number: (f"NFT_MSG_{name}", schema)
    for number, name, schema in (
        (NFT_MSG_NEWTABLE, "NEWTABLE", _TABLE),
        (NFT_MSG_DELTABLE, "DELTABLE", _TABLE),
        (NFT_MSG_NEWCHAIN, "NEWCHAIN", _CHAIN),
        (NFT_MSG_DELCHAIN, "DELCHAIN", _CHAIN),
        (NFT_MSG_NEWRULE, "NEWRULE", _RULE),
        (NFT_MSG_DELRULE, "DELRULE", _RULE),
        (NFT_MSG_NEWSET, "NEWSET", _SET),
        (NFT_MSG_DELSET, "DELSET", _SET),
        (NFT_MSG_NEWSETELEM, "NEWSETELEM", _SETELEM),
        (NFT_MSG_DELSETELEM, "DELSETELEM", _SETELEM),
        (NFT_MSG_NEWOBJ, "NEWOBJ", _OBJ),
        (NFT_MSG_DELOBJ, "DELOBJ", _OBJ),
        (NFT_MSG_NEWFLOWTABLE, "NEWFLOWTABLE", _FLOWTABLE),
        (NFT_MSG_DELFLOWTABLE, "DELFLOWTABLE", _FLOWTABLE),
        (NFT_MSG_NEWGEN, "NEWGEN", _GEN),
    )
}
