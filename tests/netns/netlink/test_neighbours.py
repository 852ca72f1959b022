"""ARP and NDP entries, proxies, and forwarding entries of VXLAN devices and bridges."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from netns.conftest import Netns, ReadJson
from netns.netlink.conftest import IndexOf
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    append_fdb,
    change_link,
    create_fdb,
    create_link,
    create_neighbour,
    delete_fdb,
    delete_neighbour,
    dump_fdb,
    dump_neighbours,
    family_of,
    format_address,
    pack_address,
    replace_fdb,
    replace_neighbour,
)
from podway.netlink.constants import (
    NTF_MASTER,
    NTF_PROXY,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_STALE,
)

if TYPE_CHECKING:
    from podway.netlink.neighbours import NeighbourMessage

MAC, OTHER_MAC, ALL_ZERO = "0a:58:0a:f4:01:00", "0a:58:0a:f4:02:00", "00:00:00:00:00:00"


def neighbour(text: str, ifindex: int, lladdr: str = MAC) -> NeighbourMessage:
    packed = pack_address(text)
    return {"family": family_of(packed), "ifindex": ifindex, "dst": packed, "lladdr": lladdr}


def proxy(text: str, ifindex: int) -> NeighbourMessage:
    packed = pack_address(text)
    return {"family": family_of(packed), "ifindex": ifindex, "dst": packed, "flags": NTF_PROXY}


@pytest.fixture
def vxlan(netlink: NetlinkSocket, veth: int, index_of: IndexOf) -> int:
    """Return the index of a VXLAN device without learning."""
    data = {"id": 1, "port": 8472, "learning": 0, "local": pack_address("192.0.2.1"), "link": veth}
    fields = {"ifname": "podway.1", "linkinfo": {"kind": "vxlan", "data": data}}
    netlink.request(create_link(fields))  # type: ignore[arg-type]  # a TypedDict by its looks
    return index_of("podway.1")


@pytest.mark.parametrize("text", ["10.244.1.0", "2001:db8:1::"])
def test_a_permanent_neighbour(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson, text: str
) -> None:
    netlink.request(create_neighbour(neighbour(text, veth)))
    (shown,) = ip_json(netns, "neigh", "show", "dev", "v0", "nud", "permanent")
    assert (shown["dst"], shown["lladdr"], shown["state"]) == (text, MAC, ["PERMANENT"])
    (read,) = [
        n for n in netlink.dump(dump_neighbours(ifindex=veth)) if n["state"] == NUD_PERMANENT
    ]
    assert (format_address(read["dst"]), read["lladdr"], read["ifindex"]) == (text, MAC, veth)


def test_create_replace_and_delete_a_neighbour(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson
) -> None:
    netlink.request(create_neighbour(neighbour("10.244.1.0", veth)))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_neighbour(neighbour("10.244.1.0", veth, OTHER_MAC)))
    assert caught.value.is_exists
    netlink.request(replace_neighbour(neighbour("10.244.1.0", veth, OTHER_MAC)))
    (shown,) = ip_json(netns, "-4", "neigh", "show")
    assert shown["lladdr"] == OTHER_MAC
    stale = neighbour("10.244.1.0", veth)
    stale["state"] = NUD_STALE
    netlink.request(replace_neighbour(stale))
    (shown,) = ip_json(netns, "-4", "neigh", "show")
    assert shown["state"] == ["STALE"]

    netlink.request(delete_neighbour(neighbour("10.244.1.0", veth)))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_neighbour(neighbour("10.244.1.0", veth)))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ENOENT, True)


@pytest.mark.parametrize("text", ["10.244.0.9", "2001:db8::9"])
def test_a_proxy_neighbour(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson, text: str
) -> None:
    netlink.request(create_neighbour(proxy(text, veth)))
    family = "-6" if ":" in text else "-4"
    (shown,) = ip_json(netns, family, "neigh", "show", "proxy")
    assert (shown["dst"], shown["dev"]) == (text, "v0")

    kind = family_of(pack_address(text))
    (read,) = netlink.dump(dump_neighbours(kind, ifindex=veth, proxies=True))
    assert (format_address(read["dst"]), read["flags"] & NTF_PROXY) == (text, NTF_PROXY)
    others = netlink.dump(dump_neighbours(kind, ifindex=veth))
    assert text not in {format_address(other["dst"]) for other in others}

    netlink.request(delete_neighbour(proxy(text, veth)))
    assert netlink.dump(dump_neighbours(kind, proxies=True)) == []
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_neighbour(proxy(text, veth)))
    assert caught.value.is_not_found


def test_listing_neighbours_by_device_and_master(
    netlink: NetlinkSocket, veth: int, index_of: IndexOf
) -> None:
    netlink.request(create_link({"ifname": "cni0", "linkinfo": {"kind": "bridge"}}))
    netlink.request(change_link({"index": veth, "master": index_of("cni0")}))
    netlink.request(create_neighbour(neighbour("10.244.1.0", veth)))
    netlink.request(create_neighbour(neighbour("10.244.2.0", index_of("v1"))))
    netlink.request(create_neighbour(proxy("10.244.3.0", veth)))

    def addresses(**filters: int | bool) -> list[str]:
        listed = netlink.dump(dump_neighbours(2, **filters))  # type: ignore[arg-type]
        return sorted(format_address(n["dst"]) for n in listed)

    assert addresses() == ["10.244.1.0", "10.244.2.0"]
    assert addresses(ifindex=veth) == ["10.244.1.0"]
    assert addresses(master=index_of("cni0")) == ["10.244.1.0"]
    assert addresses(ifindex=index_of("v1"), proxies=True) == []
    assert addresses(ifindex=veth, proxies=True) == ["10.244.3.0"]


@pytest.mark.parametrize("dst", ["192.0.2.7", "10.1.2.3"])
def test_a_forwarding_entry_of_a_tunnel(
    netlink: NetlinkSocket, netns: Netns, vxlan: int, bridge_json: ReadJson, dst: str
) -> None:
    entry: NeighbourMessage = {"ifindex": vxlan, "lladdr": MAC, "dst": pack_address(dst)}
    netlink.request(create_fdb(entry))
    (shown,) = bridge_json(netns, "fdb", "show", "dev", "podway.1")
    assert (shown["mac"], shown["dst"], shown["state"]) == (MAC, dst, "permanent")
    assert shown["flags"] == ["self"]
    (read,) = netlink.dump(dump_fdb(ifindex=vxlan))
    assert (read["lladdr"], read["dst"]) == (MAC, pack_address(dst))
    assert (read["state"], read["flags"]) == (NUD_NOARP | NUD_PERMANENT, NTF_SELF)


def test_create_replace_append_and_delete_forwarding_entries(
    netlink: NetlinkSocket, vxlan: int
) -> None:
    def entry(dst: str, mac: str = MAC) -> NeighbourMessage:
        return {"ifindex": vxlan, "lladdr": mac, "dst": pack_address(dst)}

    def listed() -> list[tuple[str, str]]:
        entries = netlink.dump(dump_fdb(ifindex=vxlan))
        return sorted((e["lladdr"], format_address(e["dst"])) for e in entries)

    netlink.request(create_fdb(entry("192.0.2.7")))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_fdb(entry("192.0.2.8")))
    assert caught.value.is_exists
    netlink.request(replace_fdb(entry("192.0.2.8")))
    assert listed() == [(MAC, "192.0.2.8")]

    netlink.request(append_fdb(entry("192.0.2.7", ALL_ZERO)))
    netlink.request(append_fdb(entry("192.0.2.8", ALL_ZERO)))
    assert listed()[:2] == [(ALL_ZERO, "192.0.2.7"), (ALL_ZERO, "192.0.2.8")]

    netlink.request(delete_fdb(entry("192.0.2.8")))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_fdb(entry("192.0.2.8")))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ENOENT, True)
    assert caught.value.operation == f"delete fdb {MAC} dst 192.0.2.8 dev podway.1"


def test_a_forwarding_entry_of_a_bridge(
    netlink: NetlinkSocket, netns: Netns, veth: int, index_of: IndexOf, bridge_json: ReadJson
) -> None:
    netlink.request(create_link({"ifname": "cni0", "linkinfo": {"kind": "bridge"}}))
    cni0 = index_of("cni0")
    netlink.request(change_link({"index": veth, "master": cni0}))
    entry: NeighbourMessage = {"ifindex": veth, "lladdr": MAC, "flags": NTF_MASTER}
    netlink.request(create_fdb(entry))
    shown = [e for e in bridge_json(netns, "fdb", "show", "br", "cni0") if e["mac"] == MAC]
    # One entry, or one more for each VLAN where the kernel knows those.
    assert {(e["ifname"], e["master"]) for e in shown} == {("v0", "cni0")}
    read = [e for e in netlink.dump(dump_fdb(master=cni0)) if e["lladdr"] == MAC]
    assert {(e["ifindex"], e["master"]) for e in read} == {(veth, cni0)}
    assert {e.get("vlan") for e in read} == {e.get("vlan") for e in shown}
    assert MAC in {e["lladdr"] for e in netlink.dump(dump_fdb(ifindex=veth))}
    assert MAC not in {e["lladdr"] for e in netlink.dump(dump_fdb(ifindex=index_of("v1")))}
