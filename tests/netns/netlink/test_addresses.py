"""Addresses of devices."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from netns.conftest import Netns, ReadJson
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    create_address,
    delete_address,
    dump_addresses,
    format_address,
    pack_address,
    replace_address,
)
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_F_PERMANENT,
)

if TYPE_CHECKING:
    from podway.netlink.addresses import AddressMessage


def ipv4(text: str, index: int, prefixlen: int = 24) -> AddressMessage:
    packed = pack_address(text)
    return {
        "family": AF_INET,
        "prefixlen": prefixlen,
        "index": index,
        "local": packed,
        "address": packed,
    }


def test_an_ipv4_address(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson
) -> None:
    fields = ipv4("10.244.0.1", veth)
    fields["broadcast"] = pack_address("10.244.0.255")
    fields["label"] = "v0:pod"
    netlink.request(create_address(fields))
    (shown,) = ip_json(netns, "-4", "addr", "show", "dev", "v0")
    (info,) = shown["addr_info"]
    assert (info["local"], info["prefixlen"], info["label"]) == ("10.244.0.1", 24, "v0:pod")
    assert info["broadcast"] == "10.244.0.255"
    (read,) = netlink.dump(dump_addresses(AF_INET, index=veth))
    assert (read["local"], read["prefixlen"], read["flags"]) == (
        pack_address("10.244.0.1"),
        24,
        IFA_F_PERMANENT,
    )
    assert read["cacheinfo"]["valid"] == 0xFFFFFFFF


def test_an_ipv6_address_without_detection_of_duplicates_and_without_prefix_route(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson
) -> None:
    flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE
    netlink.request(
        create_address(
            {
                "family": AF_INET6,
                "prefixlen": 64,
                "index": veth,
                "flags": flags,
                "address": pack_address("2001:db8::1"),
                "proto": 112,
            }
        )
    )
    (shown,) = ip_json(netns, "-6", "addr", "show", "dev", "v0", "scope", "global")
    (info,) = [info for info in shown["addr_info"] if info]  # iproute2 hides link-local as {}
    assert (info["local"], info["nodad"], info["noprefixroute"]) == ("2001:db8::1", True, True)
    read = [a for a in netlink.dump(dump_addresses(AF_INET6, index=veth)) if a.get("proto") == 112]
    assert [format_address(a["address"]) for a in read] == ["2001:db8::1"]
    assert read[0]["flags"] & flags == flags


def test_a_point_to_point_address(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson
) -> None:
    fields = ipv4("169.254.1.1", veth, 32)
    fields["address"] = pack_address("10.244.0.9")
    netlink.request(create_address(fields))
    (shown,) = ip_json(netns, "-4", "addr", "show", "dev", "v0")
    (info,) = shown["addr_info"]
    assert (info["local"], info["address"], info["prefixlen"]) == ("169.254.1.1", "10.244.0.9", 32)


def test_an_address_that_is_there_already(netlink: NetlinkSocket, veth: int) -> None:
    netlink.request(create_address(ipv4("10.244.0.1", veth)))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_address(ipv4("10.244.0.1", veth)))
    assert caught.value.is_exists
    assert caught.value.operation == "create address 10.244.0.1/24 dev v0"
    netlink.request(replace_address(ipv4("10.244.0.1", veth)))


def test_deleting_an_address(netlink: NetlinkSocket, veth: int) -> None:
    netlink.request(create_address(ipv4("10.244.0.1", veth)))
    netlink.request(delete_address(ipv4("10.244.0.1", veth)))
    assert netlink.dump(dump_addresses(AF_INET, index=veth)) == []
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_address(ipv4("10.244.0.1", veth)))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.EADDRNOTAVAIL, True)


def test_listing_addresses_by_family_and_device(netlink: NetlinkSocket, veth: int) -> None:
    netlink.request(create_address(ipv4("10.244.0.1", veth)))

    def texts(family: int = 0, index: int = 0) -> set[str]:
        listed = netlink.dump(dump_addresses(family, index=index))
        return {format_address(address["address"]) for address in listed}

    assert {"127.0.0.1", "::1", "10.244.0.1"} <= texts()
    assert texts(AF_INET) == {"127.0.0.1", "10.244.0.1"}
    assert texts(AF_INET, veth) == {"10.244.0.1"}
    assert "::1" in texts(AF_INET6)
    assert "::1" not in texts(AF_INET6, veth)
