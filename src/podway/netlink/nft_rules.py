"""nftables objects as messages: tables, chains, rules, sets, their elements.

Comes in: dicts of fields with the kernel's names. Goes out: `Request` values for a transaction
(`nft_transactions.NftSocket`), and rules that were listed. For executables, which have no time for
`nft` or libnftables; rules are programs of expressions, which `nft_expressions` builds::

    with NftSocket() as nft:
        nft.commit([
            add_table({"family": NFPROTO_INET, "name": "t"}),
            add_chain({"family": NFPROTO_INET, "table": "t", "name": "c"}),
            append_rule({"family": NFPROTO_INET, "table": "t", "chain": "c",
                         "userdata": comment("why")}, [*match_saddr(address), *masquerade()]),
        ])

On the wire every message begins with nfgenmsg (family, version 0, res_id); all numbers are big
endian. ``expressions`` and ``elements`` are nests of NFTA_LIST_ELEM.

Sources: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nf_tables_api.c (the policies);
comments as libnftnl writes them (include/libnftnl/udata.h).
"""

from __future__ import annotations

from errno import ENOENT

from podway.netlink.attribute_types import BE32, BE64, BE_S32, BYTES, TEXT
from podway.netlink.attributes import AttributeSet, Nested, Repeated
from podway.netlink.constants import (
    NFNL_SUBSYS_NFTABLES,
    NFPROTO_BRIDGE,
    NFPROTO_INET,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    NFT_MSG_DELCHAIN,
    NFT_MSG_DELRULE,
    NFT_MSG_DELSET,
    NFT_MSG_DELSETELEM,
    NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWRULE,
    NFT_MSG_NEWSET,
    NFT_MSG_NEWSETELEM,
    NFT_MSG_NEWTABLE,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
)
from podway.netlink.messages import Request, Schema
from podway.netlink.nft_expressions import DATA, EXPRESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class NftFields(TypedDict, total=False):
        """One object; which fields it has depends on what it is.

        ``family`` is NFPROTO_*; ``name`` the object's own name; ``table``, ``chain`` and ``set``
        those that it belongs to; ``handle`` the kernel's number of a rule; ``userdata`` holds the
        comment (`comment`).

        A base chain has ``type`` ("nat", "filter"), ``hook`` and ``policy`` (NF_*); ``use`` says
        how many rules and jumps a chain has. A rule stands behind or before that of handle
        ``position``. A set has elements of ``key_len`` bytes, in a map with data of ``data_len``;
        ``timeout`` is in milliseconds.
        """

        family: int
        version: int
        res_id: int
        table: str
        name: str
        chain: str
        set: str
        handle: int
        flags: int
        hook: Mapping[str, Any]
        policy: int
        type: str
        use: int
        position: int
        userdata: bytes
        expressions: Mapping[str, Any]
        compat: Mapping[str, int]
        elements: Mapping[str, Any]
        key_type: int
        key_len: int
        data_type: int
        data_len: int
        timeout: int
        id: int


NFT_MSG_GETCHAIN = 4
NFT_MSG_GETRULE = 7
NFT_MSG_GETSETELEM = 13

# Hooks (linux/netfilter.h) and the priorities that tools give names to.
NF_INET_PRE_ROUTING = 0
NF_INET_LOCAL_IN = 1
NF_INET_FORWARD = 2
NF_INET_LOCAL_OUT = 3
NF_INET_POST_ROUTING = 4
NF_BR_PRE_ROUTING = 0
NF_IP_PRI_NAT_DST = -100
NF_IP_PRI_FILTER = 0
NF_IP_PRI_NAT_SRC = 100
NF_DROP = 0
NF_ACCEPT = 1

_FAMILIES = {
    NFPROTO_INET: "inet",
    NFPROTO_IPV4: "ip",
    NFPROTO_IPV6: "ip6",
    NFPROTO_BRIDGE: "bridge",
}
# NFTNL_UDATA_*_COMMENT; the longest that `nft` takes (NFTNL_UDATA_COMMENT_MAXLEN).
_COMMENT = 0
COMMENT_MAX_BYTES = 128


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    del name_of
    words = ["nft", _FAMILIES.get(fields.get("family", 0), str(fields.get("family", 0)))]
    words += [fields[key] for key in ("table", "chain", "set", "name") if fields.get(key)]
    if fields.get("handle"):
        words.append(f"handle {fields['handle']}")
    return " ".join(words)


def _schema(noun: str, *rows: tuple[int, str, Any]) -> Schema[NftFields]:
    attributes = AttributeSet(f"NFTA_{noun.upper()}", rows)
    return Schema(f"nft {noun}", ">BBH", ("family", "version", "res_id"), attributes, _describe)


_TABLE = _schema("table", (1, "name", TEXT), (2, "flags", BE32), (6, "userdata", BYTES))
_HOOK = AttributeSet("NFTA_HOOK", ((1, "hooknum", BE32), (2, "priority", BE_S32), (3, "dev", TEXT)))
_CHAIN = _schema(
    "chain",
    (1, "table", TEXT),
    (2, "handle", BE64),
    (3, "name", TEXT),
    (4, "hook", Nested(_HOOK)),
    (5, "policy", BE32),
    (6, "use", BE32),
    (7, "type", TEXT),
    (10, "flags", BE32),
    (12, "userdata", BYTES),
)
_EXPRESSIONS = AttributeSet("NFTA_LIST", ((1, "elem", Repeated("elem", Nested(EXPRESSION))),))
# For extensions of iptables (net/netfilter/nft_compat.c, nft_parse_compat): the protocol that the
# rule matches, which some insist on. The kernel does not give it back.
_COMPAT = AttributeSet("NFTA_RULE_COMPAT", ((1, "proto", BE32), (2, "flags", BE32)))
RULE = _schema(
    "rule",
    (1, "table", TEXT),
    (2, "chain", TEXT),
    (3, "handle", BE64),
    (4, "expressions", Nested(_EXPRESSIONS)),
    (5, "compat", Nested(_COMPAT)),
    (6, "position", BE64),
    (7, "userdata", BYTES),
)
_SET = _schema(
    "set",
    (1, "table", TEXT),
    (2, "name", TEXT),
    (3, "flags", BE32),
    (4, "key_type", BE32),
    (5, "key_len", BE32),
    (6, "data_type", BE32),
    (7, "data_len", BE32),
    (10, "id", BE32),
    (11, "timeout", BE64),
    (13, "userdata", BYTES),
)
_ELEMENT = AttributeSet(
    "NFTA_SET_ELEM",
    (
        (1, "key", DATA),
        (2, "data", DATA),
        (3, "flags", BE32),
        (4, "timeout", BE64),
        (6, "userdata", BYTES),
        (10, "key_end", DATA),
    ),
)
_ELEMENTS = AttributeSet("NFTA_LIST", ((1, "elem", Repeated("elem", Nested(_ELEMENT))),))
_SETELEM = _schema(
    "set_elem_list", (1, "table", TEXT), (2, "set", TEXT), (3, "elements", Nested(_ELEMENTS))
)


def _request(
    verb: str, schema: Schema[NftFields], message: int, flags: int, fields: NftFields
) -> Request[NftFields]:
    return Request(verb, schema, NFNL_SUBSYS_NFTABLES << 8 | message, flags, fields)


def add_table(fields: NftFields) -> Request[NftFields]:
    """Return the request that makes a table (``family``, ``name``) unless it is there."""
    return _request("add", _TABLE, NFT_MSG_NEWTABLE, NLM_F_CREATE, fields)


def delete_table(fields: NftFields) -> Request[NftFields]:
    """Return the request that deletes a table with all that is in it; ENOENT without one."""
    return _request("delete", _TABLE, NFT_MSG_DELTABLE, 0, fields)


def add_chain(fields: NftFields) -> Request[NftFields]:
    """Return the request that makes a chain (``family``, ``table``, ``name``) unless it is there.

    A base chain has ``type`` ("nat", "filter"), ``hook`` ({"hooknum", "priority"}) and ``policy``.
    """
    return _request("add", _CHAIN, NFT_MSG_NEWCHAIN, NLM_F_CREATE, fields)


def delete_chain(fields: NftFields) -> Request[NftFields]:
    """Return the request that deletes an empty chain; ENOENT without one, EBUSY if used."""
    return _request("delete", _CHAIN, NFT_MSG_DELCHAIN, 0, fields)


def get_chain(fields: NftFields) -> Request[NftFields]:
    """Return the request that reads a chain; ENOENT without one."""
    return _request("read", _CHAIN, NFT_MSG_GETCHAIN, 0, fields)


def dump_chains(family: int) -> Request[NftFields]:
    """Return the request that lists the chains of a family."""
    return _request("list", _CHAIN, NFT_MSG_GETCHAIN, NLM_F_DUMP, {"family": family})


def append_rule(fields: NftFields, expressions: Sequence[Mapping[str, Any]]) -> Request[NftFields]:
    """Return the request that adds a rule at the end of ``chain`` (or behind ``position``)."""
    rule: NftFields = {**fields, "expressions": {"elem": expressions}}
    return _request("add", RULE, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, rule)


def insert_rule(fields: NftFields, expressions: Sequence[Mapping[str, Any]]) -> Request[NftFields]:
    """Return the request that adds a rule at the start of ``chain`` (or before ``position``)."""
    rule: NftFields = {**fields, "expressions": {"elem": expressions}}
    return _request("insert", RULE, NFT_MSG_NEWRULE, NLM_F_CREATE, rule)


def delete_rule(fields: NftFields) -> Request[NftFields]:
    """Return the request that deletes rule ``handle``, or without one all rules of ``chain``."""
    return _request("delete", RULE, NFT_MSG_DELRULE, 0, fields)


def get_rule(fields: NftFields) -> Request[NftFields]:
    """Return the request that reads rule ``handle`` of ``chain``; ENOENT without one."""
    return _request("read", RULE, NFT_MSG_GETRULE, 0, fields)


def dump_rules(family: int, table: str, chain: str = "") -> Request[NftFields]:
    """Return the request that lists the rules of a table or chain: none where that is not there."""
    fields: NftFields = {"family": family, "table": table}
    if chain:
        fields["chain"] = chain
    type_ = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE
    return Request("list", RULE, type_, NLM_F_DUMP, fields, empty_errno=ENOENT)


def add_set(fields: NftFields) -> Request[NftFields]:
    """Return the request that makes a set or map unless it is there.

    Give ``key_type`` and ``key_len`` (bytes), for a map ``data_type``, ``data_len`` and its flag,
    and an ``id`` that no other set of the transaction has.
    """
    return _request("add", _SET, NFT_MSG_NEWSET, NLM_F_CREATE, fields)


def delete_set(fields: NftFields) -> Request[NftFields]:
    """Return the request that deletes a set; ENOENT without one, EBUSY if used."""
    return _request("delete", _SET, NFT_MSG_DELSET, 0, fields)


def add_elements(fields: NftFields, elements: Sequence[Mapping[str, Any]]) -> Request[NftFields]:
    """Return the request that adds elements (``{"key": {"value": bytes}}``) to ``set``."""
    whole: NftFields = {**fields, "elements": {"elem": elements}}
    return _request("add", _SETELEM, NFT_MSG_NEWSETELEM, NLM_F_CREATE, whole)


def delete_elements(fields: NftFields, elements: Sequence[Mapping[str, Any]]) -> Request[NftFields]:
    """Return the request that takes elements out of ``set``; ENOENT if one is missing."""
    whole: NftFields = {**fields, "elements": {"elem": elements}}
    return _request("delete", _SETELEM, NFT_MSG_DELSETELEM, 0, whole)


def dump_elements(family: int, table: str, set_name: str) -> Request[NftFields]:
    """Return the request that lists a set; each message holds many ``elements``."""
    fields: NftFields = {"family": family, "table": table, "set": set_name}
    return _request("list", _SETELEM, NFT_MSG_GETSETELEM, NLM_F_DUMP, fields)


def comment(text: str) -> bytes:
    """Return ``userdata`` with a comment, as `nft` shows it; what is too long is cut."""
    cut = text.encode()[: COMMENT_MAX_BYTES - 1] + b"\0"
    return note(_COMMENT, cut)


def comment_of(userdata: bytes) -> str:
    """Return the comment in ``userdata``, "" without one."""
    return note_of(userdata, _COMMENT).rstrip(b"\0").decode(errors="replace")


def note(kind: int, value: bytes) -> bytes:
    """Return an entry of ``userdata``; kinds that they do not know nft and iptables pass over."""
    return bytes((kind, len(value))) + value


def note_of(userdata: bytes, kind: int) -> bytes:
    """Return the entry of *kind* in ``userdata``, b"" without one."""
    position = 0
    while position + 2 <= len(userdata):
        size = userdata[position + 1]
        if userdata[position] == kind:
            return userdata[position + 2 : position + 2 + size]
        position += 2 + size
    return b""
