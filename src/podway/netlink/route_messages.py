"""What a message about a route holds, for readers and the type checker.

Nothing of this exists at run time, where messages are plain dicts: import it under
``if TYPE_CHECKING:``. The tables of `routes` say how the fields travel. A field left out is not
sent; a field that the kernel did not send is not there.

Sources: include/uapi/linux/rtnetlink.h, Documentation/netlink/specs/rt-route.yaml, rtnetlink(7).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypedDict

    class ViaFields(TypedDict):
        """RTA_VIA: a next hop of another family.

        Attributes:
            family: AF_*.
            addr: packed, 4 or 16 bytes.
        """

        family: int
        addr: bytes

    class NextHopFields(TypedDict, total=False):
        """One way of a multipath route.

        Attributes:
            ifindex: output device.
            flags: RTNH_F_*.
            hops: weight minus 1, from 0 to 255.
            gateway: packed address of the next hop; missing where the destination is on the link.
            via: the same of another family.
            flow: realms, source << 16 | destination.
            encap_type: LWTUNNEL_ENCAP_*.
        """

        ifindex: int
        flags: int
        hops: int
        gateway: bytes
        via: ViaFields
        flow: int
        encap_type: int

    class RouteMessage(TypedDict, total=False):
        """One route. Addresses are packed bytes (4 or 16), devices are indexes.

        Attributes:
            family: AF_INET or AF_INET6.
            dst_len: bits of *dst*.
            src_len: bits of *src*.
            tos: type of service that packets must have; 0 for any.
            table: RT_TABLE_*.
            protocol: RTPROT_*, who wrote it.
            scope: RT_SCOPE_* (IPv4).
            type: RTN_*.
            flags: RTNH_F_*, RTM_F_*.
            dst: destination prefix; missing for the default route.
            src: source prefix (IPv6), or the source of a lookup.
            iif: of a lookup, the device by which the packet came in.
            oif: output device.
            gateway: next hop; missing where the destination is on the link.
            via: next hop of another family.
            priority: metric; the lowest wins.
            prefsrc: source of packets whose sender names none.
            metrics: what TCP and the MTU start from: ``mtu`` and ``advmss`` in bytes, ``initcwnd``
                in segments, ``hoplimit`` in hops, ...
            multipath: two or more ways, instead of *oif* and *gateway*.
            flow: realms, source << 16 | destination.
            cacheinfo: struct rta_cacheinfo; ``lastuse`` and ``expires`` in 1/100 s (USER_HZ).
            mark: of a lookup, the packet's.
            pref: ICMPV6_ROUTER_PREF_* (RFC 4191).
            encap_type: LWTUNNEL_ENCAP_*.
            expires: seconds from now on (IPv6).
            uid: of a lookup, the user who sends.
            ttl_propagate: 1 if MPLS takes the TTL from the packet.
            nh_id: number of a next hop object, instead of *oif* and *gateway*.
        """

        family: int
        dst_len: int
        src_len: int
        tos: int
        table: int
        protocol: int
        scope: int
        type: int
        flags: int
        dst: bytes
        src: bytes
        iif: int
        oif: int
        gateway: bytes
        via: ViaFields
        priority: int
        prefsrc: bytes
        metrics: Mapping[str, int]
        multipath: Sequence[NextHopFields]
        flow: int
        cacheinfo: Mapping[str, int]
        mark: int
        pref: int
        encap_type: int
        expires: int
        uid: int
        ttl_propagate: int
        nh_id: int
