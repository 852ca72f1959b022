"""Numbers, names and widths of the tables, against pyroute2's.

Where the two differ the reason stands in `DEVIATIONS`; the kernel's source was asked.
"""

from typing import Any

import pytest
from pyroute2 import netlink as pyroute2_netlink
from pyroute2.netlink import nfnetlink, rtnl
from pyroute2.netlink.nfnetlink import nftsocket
from pyroute2.netlink.rtnl import fibmsg, ifaddrmsg, ifinfmsg, ndmsg, rtmsg, tcmsg
from pyroute2.netlink.rtnl.tcmsg import (
    cls_matchall,
    cls_u32,
    sched_fq_codel,
    sched_htb,
    sched_tbf,
)

from podway.netlink import attribute_types as types
from podway.netlink import constants, link_kinds, links, routes, traffic_control, traffic_filters
from podway.netlink.addresses import ADDRESS_OF_LINK
from podway.netlink.attributes import AttributeSet
from podway.netlink.neighbours import NEIGHBOUR
from podway.netlink.nftables import NFT_MESSAGES
from podway.netlink.rules import RULE

# pyroute2's type of an attribute: struct formats of ours that agree with it.
WIDTHS = {
    "uint8": "=B",
    "uint16": "=H",
    "uint32": "=I",
    "uint64": "=Q",
    "int32": "=i",
    "be16": ">H",
    "be32": ">I",
    "be64": ">Q",
}
TYPES: dict[str, type] = {
    "asciiz": types.Text,
    "flag": types.Presence,
    "l2addr": types.LinkLayer,
    "lladdr": types.LinkLayer,
    "ipaddr": types.Bytes,
    "ip4addr": types.Bytes,
    "ip6addr": types.Bytes,
    "target": types.Bytes,
}
DEVIATIONS = {
    ("IFLA", "target_netnsid"): "the same number's newer name; s32 in net/core/rtnetlink.c",
    ("IFLA", "new_netnsid"): "nla_put_s32 in net/core/rtnetlink.c, not big endian",
    ("IFLA", "new_ifindex"): "nla_put_s32 in net/core/rtnetlink.c",
    ("IFA", "target_netnsid"): "s32 in net/ipv4/devinet.c, no text",
    ("NDA", "link_netnsid"): "nla_put_s32 in drivers/net/vxlan/vxlan_core.c",
    ("IFLA_VXLAN", "label"): "nla_put_be32 in drivers/net/vxlan/vxlan_core.c",
    ("TCA_MATCHALL", "classid"): "nla_get_u32 in net/sched/cls_matchall.c, not big endian",
    ("TCA_MATCHALL", "flags"): "nla_get_u32 in net/sched/cls_matchall.c, not big endian",
    ("IFLA_IPTUN", "flags"): "nla_get_be16 in net/ipv6/sit.c; u32 is right for ip6_tunnel.c",
}
KINDS = ifinfmsg.ifinfmsg.ifinfo.data_map
NFT = {
    "NEWTABLE": nftsocket.nft_table_msg,
    "NEWCHAIN": nftsocket.nft_chain_msg,
    "NEWRULE": nftsocket.nft_rule_msg,
    "NEWSET": nftsocket.nft_set_msg,
    "NEWGEN": nftsocket.nft_gen_msg,
    "NEWFLOWTABLE": nftsocket.nft_flowtable_msg,
}


def nla_map(message: Any) -> dict[int, tuple[str, str]]:
    """Return pyroute2's table as number -> (name, type)."""
    rows = message.nla_map
    return {(row[0] if len(row) == 3 else index): row[-2:] for index, row in enumerate(rows)}


def struct_format(kind: Any) -> str:
    sizes = {1: "B", 2: "H", 4: "I", 8: "Q"}
    order = ">" if kind in {types.BE16, types.BE32} or kind._pack(1)[-1] == 1 != kind._size else "="
    return "=i" if kind is types.S32 else order + sizes[kind._size]


@pytest.mark.parametrize(
    ("table", "witness"),
    [
        pytest.param(links.LINK.attributes, ifinfmsg.ifinfmsg, id="link"),
        pytest.param(links._LINKINFO, ifinfmsg.ifinfmsg.ifinfo, id="linkinfo"),
        pytest.param(links._VETH, KINDS["veth"], id="veth"),
        pytest.param(link_kinds.BRIDGE_PORT, KINDS["bridge_slave"], id="bridge port"),
        *(
            pytest.param(table, KINDS[kind], id=kind)
            for kind, table in link_kinds.KINDS.items()
            if kind in KINDS
        ),
        pytest.param(ADDRESS_OF_LINK.attributes, ifaddrmsg.ifaddrmsg, id="address"),
        pytest.param(routes.ROUTE.attributes, rtmsg.rtmsg, id="route"),
        pytest.param(routes._METRICS, rtmsg.rtmsg.metrics, id="metrics"),
        pytest.param(NEIGHBOUR.attributes, ndmsg.ndmsg, id="neighbour"),
        pytest.param(RULE.attributes, fibmsg.fibmsg, id="rule"),
        pytest.param(traffic_control.QDISC.attributes, tcmsg.tcmsg, id="qdisc"),
        pytest.param(traffic_control._TBF, sched_tbf.options, id="tbf"),
        pytest.param(traffic_control._HTB, sched_htb.options, id="htb"),
        pytest.param(traffic_control._FQ_CODEL, sched_fq_codel.options, id="fq_codel"),
        pytest.param(traffic_filters._U32, cls_u32.options, id="u32"),
        pytest.param(traffic_filters._MATCHALL, cls_matchall.options, id="matchall"),
    ],
)
def test_names_and_types_of_attributes(table: AttributeSet, witness: Any) -> None:
    theirs = nla_map(witness)
    known = [row for row in table.rows if row[0] in theirs]
    assert known
    for number, name, kind in known:
        their_name, their_type = theirs[number]
        if (table.prefix, name) in DEVIATIONS:
            continue
        assert their_name.lower().endswith(f"_{name.removeprefix('nda_')}"), number
        if their_type in WIDTHS:
            assert struct_format(kind) == WIDTHS[their_type], name
        elif their_type in TYPES:
            assert isinstance(kind, TYPES[their_type]), name


@pytest.mark.parametrize("message", NFT)
def test_names_of_nftables_attributes(message: str) -> None:
    (schema,) = [s for name, s in NFT_MESSAGES.values() if name == f"NFT_MSG_{message}"]
    theirs = nla_map(NFT[message])
    for number, name, _ in schema.attributes.rows:
        assert theirs[number][0].lower().endswith(f"_{name}") or name in {"table", "name"}
    assert theirs[1][0] in {"NFTA_TABLE_NAME", "NFTA_GEN_ID"} or theirs[1][0].endswith("_TABLE")


def test_headers_have_the_fields_of_the_structs() -> None:
    for schema, witness in (
        (links.LINK, ifinfmsg.ifinfmsg),
        (ADDRESS_OF_LINK, ifaddrmsg.ifaddrmsg),
        (routes.ROUTE, rtmsg.rtmsg),
        (NEIGHBOUR, ndmsg.ndmsg),
        (RULE, fibmsg.fibmsg),
        (traffic_control.QDISC, tcmsg.tcmsg),
    ):
        names = {"proto": "protocol", "ifi_type": "type", "ndm_type": "type"}
        names |= {"index": "ifindex"} if witness is tcmsg.tcmsg else {}
        theirs = [names.get(name, name) for name, _ in witness.fields]
        ours = list(schema._header)
        assert [name for name in theirs if not name.startswith(("_", "res", "pad"))] == ours


def test_constants_have_pyroute2s_values() -> None:
    checked = set()
    for module in (pyroute2_netlink, rtnl, ifinfmsg, nfnetlink, nftsocket, ndmsg, rtmsg, fibmsg):
        for name, value in vars(module).items():
            if isinstance(value, int) and hasattr(constants, name):
                assert getattr(constants, name) == value, name
                checked.add(name)
    assert {"RTM_NEWROUTE", "NLM_F_CREATE", "RTNLGRP_IPV4_NETCONF", "NFT_MSG_NEWGEN"} <= checked
