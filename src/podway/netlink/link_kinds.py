"""What is special to each kind of device: the tables behind IFLA_INFO_DATA and for bridge ports.

`KINDS` maps a kind to the table of its parameters, `PORT_KINDS` a master's kind to the table of
what it keeps for each of its ports. The veth pair, whose parameter is a whole second device,
stands in `links`. Field names are the kernel's: IFLA_VXLAN_PORT is ``port``. So are the units:
times and timers of bridges are in 1/100 s (USER_HZ), the ``ageing`` of VXLAN in seconds.

Sources: include/uapi/linux/if_link.h, if_tunnel.h, if_tun.h, and the policies in the drivers
(drivers/net/vxlan/vxlan_core.c, net/bridge/br_netlink.c, ...), which give the widths.
"""

from __future__ import annotations

from podway.netlink.attribute_types import (
    ADDRESS,
    BE16,
    BE32,
    BYTES,
    FLAG,
    LLADDR,
    S32,
    U8,
    U16,
    U32,
    U64,
    Record,
)
from podway.netlink.attributes import AttributeSet, Nested, Repeated

_VXLAN = AttributeSet(
    "IFLA_VXLAN",
    (
        (1, "id", U32),
        (2, "group", ADDRESS),
        (3, "link", U32),
        (4, "local", ADDRESS),
        (5, "ttl", U8),
        (6, "tos", U8),
        (7, "learning", U8),
        (8, "ageing", U32),
        (9, "limit", U32),
        (10, "port_range", Record(">HH", ("low", "high"))),
        (11, "proxy", U8),
        (12, "rsc", U8),
        (13, "l2miss", U8),
        (14, "l3miss", U8),
        (15, "port", BE16),
        (16, "group6", ADDRESS),
        (17, "local6", ADDRESS),
        (18, "udp_csum", U8),
        (19, "udp_zero_csum6_tx", U8),
        (20, "udp_zero_csum6_rx", U8),
        (21, "remcsum_tx", U8),
        (22, "remcsum_rx", U8),
        (23, "gbp", FLAG),
        (24, "remcsum_nopartial", FLAG),
        (25, "collect_metadata", U8),
        (26, "label", BE32),
        (27, "gpe", FLAG),
        (28, "ttl_inherit", FLAG),
        (29, "df", U8),
        (30, "vnifilter", U8),
        (31, "localbypass", U8),
        (32, "label_policy", U32),
    ),
)

_BRIDGE = AttributeSet(
    "IFLA_BR",
    (
        (1, "forward_delay", U32),
        (2, "hello_time", U32),
        (3, "max_age", U32),
        (4, "ageing_time", U32),
        (5, "stp_state", U32),
        (6, "priority", U16),
        (7, "vlan_filtering", U8),
        (8, "vlan_protocol", BE16),
        (9, "group_fwd_mask", U16),
        (10, "root_id", BYTES),
        (11, "bridge_id", BYTES),
        (12, "root_port", U16),
        (13, "root_path_cost", U32),
        (14, "topology_change", U8),
        (15, "topology_change_detected", U8),
        (16, "hello_timer", U64),
        (17, "tcn_timer", U64),
        (18, "topology_change_timer", U64),
        (19, "gc_timer", U64),
        (20, "group_addr", LLADDR),
        (21, "fdb_flush", FLAG),
        (22, "mcast_router", U8),
        (23, "mcast_snooping", U8),
        (24, "mcast_query_use_ifaddr", U8),
        (25, "mcast_querier", U8),
        (26, "mcast_hash_elasticity", U32),
        (27, "mcast_hash_max", U32),
        (28, "mcast_last_member_cnt", U32),
        (29, "mcast_startup_query_cnt", U32),
        (30, "mcast_last_member_intvl", U64),
        (31, "mcast_membership_intvl", U64),
        (32, "mcast_querier_intvl", U64),
        (33, "mcast_query_intvl", U64),
        (34, "mcast_query_response_intvl", U64),
        (35, "mcast_startup_query_intvl", U64),
        (36, "nf_call_iptables", U8),
        (37, "nf_call_ip6tables", U8),
        (38, "nf_call_arptables", U8),
        (39, "vlan_default_pvid", U16),
        (41, "vlan_stats_enabled", U8),
        (42, "mcast_stats_enabled", U8),
        (43, "mcast_igmp_version", U8),
        (44, "mcast_mld_version", U8),
        (45, "vlan_stats_per_port", U8),
        (46, "multi_boolopt", Record("=II", ("optval", "optmask"))),
        (48, "fdb_n_learned", U32),
        (49, "fdb_max_learned", U32),
    ),
)

BRIDGE_PORT = AttributeSet(
    "IFLA_BRPORT",
    (
        (1, "state", U8),
        (2, "priority", U16),
        (3, "cost", U32),
        (4, "mode", U8),  # BRIDGE_MODE_HAIRPIN
        (5, "guard", U8),
        (6, "protect", U8),
        (7, "fast_leave", U8),
        (8, "learning", U8),
        (9, "unicast_flood", U8),
        (10, "proxyarp", U8),
        (11, "learning_sync", U8),
        (12, "proxyarp_wifi", U8),
        (13, "root_id", BYTES),
        (14, "bridge_id", BYTES),
        (15, "designated_port", U16),
        (16, "designated_cost", U16),
        (17, "id", U16),
        (18, "no", U16),
        (19, "topology_change_ack", U8),
        (20, "config_pending", U8),
        (21, "message_age_timer", U64),
        (22, "forward_delay_timer", U64),
        (23, "hold_timer", U64),
        (24, "flush", FLAG),
        (25, "multicast_router", U8),
        (27, "mcast_flood", U8),
        (28, "mcast_to_ucast", U8),
        (29, "vlan_tunnel", U8),
        (30, "bcast_flood", U8),
        (31, "group_fwd_mask", U16),
        (32, "neigh_suppress", U8),
        (33, "isolated", U8),
        (34, "backup_port", U32),
        (35, "mrp_ring_open", U8),
        (36, "mrp_in_open", U8),
        (37, "mcast_eht_hosts_limit", U32),
        (38, "mcast_eht_hosts_cnt", U32),
        (39, "locked", U8),
        (40, "mab", U8),
        (41, "mcast_n_groups", U32),
        (42, "mcast_max_groups", U32),
        (43, "neigh_vlan_suppress", U8),
        (44, "backup_nhid", U32),
    ),
)

_MACVLAN = AttributeSet(
    "IFLA_MACVLAN",
    (
        (1, "mode", U32),
        (2, "flags", U16),
        (3, "macaddr_mode", U32),
        (4, "macaddr", LLADDR),
        (6, "macaddr_count", U32),
        (7, "bc_queue_len", U32),
        (8, "bc_queue_len_used", U32),
        (9, "bc_cutoff", S32),
    ),
)

_IPVLAN = AttributeSet("IFLA_IPVLAN", ((1, "mode", U16), (2, "flags", U16)))

_VLAN_QOS = AttributeSet(
    "IFLA_VLAN_QOS",
    ((1, "mapping", Repeated("mapping", Record("=II", ("from", "to")))),),
)
_VLAN = AttributeSet(
    "IFLA_VLAN",
    (
        (1, "id", U16),
        (2, "flags", Record("=II", ("flags", "mask"))),
        (3, "egress_qos", Nested(_VLAN_QOS)),
        (4, "ingress_qos", Nested(_VLAN_QOS)),
        (5, "protocol", BE16),
    ),
)

_VRF = AttributeSet("IFLA_VRF", ((1, "table", U32),))
_VRF_PORT = AttributeSet("IFLA_VRF_PORT", ((1, "table", U32),))

_TUN = AttributeSet(
    "IFLA_TUN",
    (
        (1, "owner", U32),
        (2, "group", U32),
        (3, "type", U8),
        (4, "pi", U8),
        (5, "vnet_hdr", U8),
        (6, "persist", U8),
        (7, "multi_queue", U8),
        (8, "num_queues", U32),
        (9, "num_disabled_queues", U32),
    ),
)

_IPTUN = (
    (1, "link", U32),
    (2, "local", ADDRESS),
    (3, "remote", ADDRESS),
    (4, "ttl", U8),
    (5, "tos", U8),
    (6, "encap_limit", U8),
    (7, "flowinfo", BE32),
    (9, "proto", U8),
    (10, "pmtudisc", U8),
    (15, "encap_type", U16),
    (16, "encap_flags", U16),
    (17, "encap_sport", BE16),
    (18, "encap_dport", BE16),
    (19, "collect_metadata", FLAG),
    (20, "fwmark", U32),
)
# ipip knows no flags; those of IPv6 tunnels are u32, those of sit be16 (the drivers' policies).
_IPIP = AttributeSet("IFLA_IPTUN", _IPTUN)
_IP6TNL = AttributeSet("IFLA_IPTUN", (*_IPTUN, (8, "flags", U32)))
_SIT = AttributeSet(
    "IFLA_IPTUN",
    (
        *_IPTUN,
        (8, "flags", BE16),
        (11, "6rd_prefix", ADDRESS),
        (12, "6rd_relay_prefix", ADDRESS),
        (13, "6rd_prefixlen", U16),
        (14, "6rd_relay_prefixlen", U16),
    ),
)

# Kinds without parameters: what they do is decided elsewhere (tc, the genetlink of wireguard).
_PLAIN = AttributeSet("IFLA_INFO_DATA", ())

KINDS = {
    "vxlan": _VXLAN,
    "bridge": _BRIDGE,
    "macvlan": _MACVLAN,
    "macvtap": _MACVLAN,
    "ipvlan": _IPVLAN,
    "ipvtap": _IPVLAN,
    "vlan": _VLAN,
    "vrf": _VRF,
    "tun": _TUN,
    "ipip": _IPIP,
    "sit": _SIT,
    "ip6tnl": _IP6TNL,
    "dummy": _PLAIN,
    "ifb": _PLAIN,
    "wireguard": _PLAIN,
}

PORT_KINDS = {"bridge": BRIDGE_PORT, "vrf": _VRF_PORT}
