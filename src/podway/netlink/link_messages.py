"""What a message about a network device holds, for readers and the type checker.

Nothing of this exists at run time, where messages are plain dicts: import it under
``if TYPE_CHECKING:``. The tables of `links` say how the fields travel. A field left out is not
sent; a field that the kernel did not send is not there.

Sources: include/uapi/linux/if_link.h, Documentation/netlink/specs/rt-link.yaml, rtnetlink(7).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    class LinkInfo(TypedDict, total=False):
        """IFLA_LINKINFO: what the device is, and what its master makes of it.

        Attributes:
            kind: "veth", "vxlan", ... (`link_kinds.KINDS`).
            data: parameters of the kind; of a veth pair ``peer``, a LinkMessage of the other end.
            slave_kind: kind of the master.
            slave_data: what the master keeps for this port (`link_kinds.PORT_KINDS`).
        """

        kind: str
        data: Mapping[str, Any]
        slave_kind: str
        slave_data: Mapping[str, Any]

    class LinkMessage(TypedDict, total=False):
        """One device.

        Attributes:
            family: AF_BRIDGE for a bridge port instead of the device, else 0.
            type: ARPHRD_*.
            index: the kernel's number of the device.
            flags: IFF_*.
            change: in a request the bits of *flags* to change.
            address: of the link layer: colon text of 6 bytes, 4 for ipip (the local address).
            broadcast: the link layer's, likewise.
            perm_address: the one that the hardware has, likewise.
            ifname: at most 15 bytes.
            ifalias: at most 255 bytes, what the user likes.
            mtu: bytes.
            min_mtu: bytes, what the driver allows.
            max_mtu: bytes, likewise; 0 for no limit.
            link: index of the device below (of a VLAN), or of the other end (of a veth).
            link_netnsid: number of the namespace in which *link* is; missing if it is this one.
            master: index of the bridge or VRF; 0 in a request takes the device out of it.
            txqlen: packets.
            operstate: IF_OPER_* (RFC 2863).
            linkmode: IF_LINK_MODE_*.
            linkinfo: kind and parameters.
            group: number that the user gives; 0 unless given.
            promiscuity: how many want all packets of the link.
            allmulti: how many want all multicast packets of the link.
            num_tx_queues: at creation.
            num_rx_queues: at creation.
            gso_max_segs: segments of one packet that the device cuts.
            gso_max_size: bytes of one such packet.
            gro_max_size: bytes of one packet put together from what was received.
            tso_max_size: bytes, what the driver allows for *gso_max_size*.
            tso_max_segs: what the driver allows for *gso_max_segs*.
            gso_ipv4_max_size: bytes, *gso_max_size* for IPv4.
            gro_ipv4_max_size: bytes, *gro_max_size* for IPv4.
            carrier: 1 with a carrier.
            carrier_changes: count since creation.
            carrier_up_count: likewise, gained.
            carrier_down_count: likewise, lost.
            proto_down: 1 where a protocol keeps the device down.
            qdisc: kind of its root queueing discipline.
            net_ns_pid: in a request the namespace to be in, as that of a process.
            net_ns_fd: the same, as a descriptor.
            new_netnsid: of a device that has left (RTM_DELLINK): number of its namespace now.
            new_ifindex: its index there.
            target_netnsid: in a request the namespace that it is about, as a number
                (`netns_ids.read_netns_id`).
            ext_mask: in a request RTEXT_FILTER_*: what to leave out or to add.
            event: of a notification IFLA_EVENT_*.
            stats64: packets, bytes and errors since creation.
            prop_list: further names, ``{"alt_ifname": [...]}``.
            alt_ifname: in a request a further name to find the device by, at most 127 bytes.
            phys_port_name: the driver's name of the port.
            parent_dev_name: the hardware that it belongs to ("0000:00:1f.6").
            parent_dev_bus_name: on which bus that is ("pci").
            protinfo: with AF_BRIDGE the settings of the port (`link_kinds.BRIDGE_PORT`).
            af_spec: settings by family, ``{"inet": {"conf": ...}, "inet6": ...}``; with AF_BRIDGE
                the VLANs, ``{"vlan_info": [{"flags", "vid"}, ...]}``.
        """

        family: int
        type: int
        index: int
        flags: int
        change: int
        address: str
        broadcast: str
        perm_address: str
        ifname: str
        ifalias: str
        mtu: int
        min_mtu: int
        max_mtu: int
        link: int
        link_netnsid: int
        master: int
        txqlen: int
        operstate: int
        linkmode: int
        linkinfo: LinkInfo
        group: int
        promiscuity: int
        allmulti: int
        num_tx_queues: int
        num_rx_queues: int
        gso_max_segs: int
        gso_max_size: int
        gro_max_size: int
        tso_max_size: int
        tso_max_segs: int
        gso_ipv4_max_size: int
        gro_ipv4_max_size: int
        carrier: int
        carrier_changes: int
        carrier_up_count: int
        carrier_down_count: int
        proto_down: int
        qdisc: str
        net_ns_pid: int
        net_ns_fd: int
        new_netnsid: int
        new_ifindex: int
        target_netnsid: int
        ext_mask: int
        event: int
        stats64: Mapping[str, int]
        prop_list: Mapping[str, list[str]]
        alt_ifname: str
        phys_port_name: str
        parent_dev_name: str
        parent_dev_bus_name: str
        protinfo: Mapping[str, Any]
        af_spec: Mapping[str, Any]
