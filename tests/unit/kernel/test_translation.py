"""What is written, field by field, and what is not taken for ours when it is read."""

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from podway.diff.compare import Difference, compare
from podway.diff.operations import Operation, Verb
from podway.kernel.addresses import address_fields
from podway.kernel.errors import NoDeviceError, kernel_error
from podway.kernel.links import (
    create_request,
    done_request,
    finish_requests,
    parse_link,
)
from podway.kernel.neighbours import parse_neighbour
from podway.kernel.ownership import is_our_link
from podway.kernel.protocol import KernelError
from podway.kernel.routes import parse_route
from podway.kernel.rules import parse_rule
from podway.kernel.sysctls import checked_path, device_of_path
from podway.kernel.writes import batches, requests_of
from podway.model.addresses import Family
from podway.model.instances import UNFINISHED_GROUP
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    PodSide,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vxlan,
)
from podway.netlink import EncodeError, NetlinkError, NetnsError
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    FR_ACT_TO_TBL,
    IFA_F_NODAD,
    NTF_MASTER,
    NTF_SELF,
    NUD_PERMANENT,
    NUD_REACHABLE,
    RT_SCOPE_UNIVERSE,
)

INDEXES = {"eth0": 2, "cni0": 3, "podway.1": 4}
MAC = "02:00:00:00:00:01"
VTEP = Link(
    name="podway.1",
    kind=Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay="eth0", port=8472),
    mtu=1450,
    mac=MAC,
    alias="podway:vtep",
)
POD = PodSide(netns="/run/netns/a", ifname="eth0", mac=MAC, mtu=1450, addresses=())
ROUTE = Route(dst=ip_network("10.2.0.0/24"), dev="eth0", via=ip_address("192.0.2.2"))


def index_of(dev: str) -> int:
    if dev not in INDEXES:
        raise NoDeviceError(dev, f"use device {dev}")
    return INDEXES[dev]


def name_of(index: int) -> str:
    return {number: name for name, number in INDEXES.items()}.get(index, "")


def finished(link: Link, *, ipv6: bool = True) -> list[dict[str, Any]]:
    return [dict(request.fields) for request in finish_requests(link, index_of, ipv6=ipv6)]


def test_a_tunnel_says_all_that_is_fixed_at_creation() -> None:
    assert create_request(VTEP, index_of).fields == {
        "ifname": "podway.1",
        "group": UNFINISHED_GROUP,
        "mtu": 1450,
        "address": MAC,
        "linkinfo": {
            "kind": "vxlan",
            "data": {
                "id": 1,
                "link": 2,
                "port": 8472,
                "learning": 0,
                "local": bytes((192, 0, 2, 1)),
            },
        },
    }


def test_a_tunnel_over_ipv6_with_group_policy() -> None:
    local = ip_address("2001:db8::1")
    kind = replace(VTEP.kind, local=local, gbp=True, learning=True)
    fields: Any = create_request(replace(VTEP, kind=kind), index_of).fields
    data = fields["linkinfo"]["data"]
    assert (data["local6"], data["gbp"], data["learning"]) == (local.packed, True, 1)
    assert "local" not in data


def test_a_pair_is_made_with_its_end_in_place() -> None:
    link = Link(name="pw1", kind=Veth(POD), mtu=1400)
    fields = create_request(link, index_of, 7).fields
    peer = {"ifname": "eth0", "mtu": 1450, "address": MAC, "net_ns_fd": 7}
    assert fields["linkinfo"] == {"kind": "veth", "data": {"peer": peer}}


@pytest.mark.parametrize(
    ("link", "ipv6", "quiet"),
    [
        pytest.param(VTEP, True, True, id="a tunnel makes no address up"),
        pytest.param(VTEP, False, False, id="nor could it without IPv6"),
        pytest.param(replace(VTEP, mtu=1000), True, False, id="nor below 1280 bytes"),
        pytest.param(
            Link(name="cni0", kind=Bridge()), True, False, id="a bridge needs its link-local one"
        ),
    ],
)
def test_address_generation_is_off_before_the_device_is_up(
    link: Link, *, ipv6: bool, quiet: bool
) -> None:
    marked, started = finished(link, ipv6=ipv6)
    assert ("af_spec" in marked) is quiet
    assert "flags" not in marked
    assert started["flags"] == started["change"] == 1


def test_a_bridge_is_told_its_mtu_by_a_change() -> None:
    link = Link(name="cni0", kind=Bridge(), mtu=1450)
    assert "mtu" not in create_request(link, index_of).fields
    marked, started = finished(link)
    assert marked["mtu"] != 1450
    assert started["mtu"] == 1450


def test_a_port_is_told_its_hairpin_mode_last() -> None:
    port = Link(name="pw1", kind=Veth(POD), master="cni0", hairpin=True)
    assert not any("linkinfo" in fields for fields in finished(port))
    fields: Any = done_request(port).fields
    assert fields["group"] == 0
    assert fields["linkinfo"] == {"slave_kind": "bridge", "slave_data": {"mode": 1}}


def test_addresses_are_valid_at_once() -> None:
    assert address_fields(ip_interface("fd01::1/64"), 3)["flags"] == IFA_F_NODAD
    assert address_fields(ip_interface("10.1.0.1/24"), 3) == {
        "family": AF_INET,
        "index": 3,
        "prefixlen": 24,
        "scope": RT_SCOPE_UNIVERSE,
        "local": bytes((10, 1, 0, 1)),
        "address": bytes((10, 1, 0, 1)),
        "flags": 0,
    }


# --- what is read -------------------------------------------------------------------------------


def test_a_device_that_was_never_finished_is_ours_and_no_good() -> None:
    """Its maker was killed before it could mark it; the group into which it was born tells."""
    message: Any = {
        "ifname": "pw1", "flags": 1, "group": UNFINISHED_GROUP, "linkinfo": {"kind": "veth"},
    }  # fmt: skip
    found = parse_link(message, name_of)
    assert found is not None
    assert is_our_link(found)
    wanted = Link(name="pw1", kind=Veth(POD), alias="podway:pod x")
    assert compare(wanted, found) is Difference.REMAKE
    assert done_request(wanted).fields == {"ifname": "pw1", "group": 0}


def test_a_device_of_another_kind_is_no_link() -> None:
    message: Any = {"ifname": "eth0", "flags": 1, "linkinfo": {"kind": "dummy"}}
    assert parse_link(message, name_of) is None
    assert parse_link({"ifname": "eth0", "flags": 1}, name_of) is None


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"action": 6}, id="blackhole"),
        pytest.param({"flags": 2}, id="inverted"),
        pytest.param({"oifname": "eth0"}, id="by output device"),
        pytest.param({"uid_range": {"start": 0, "end": 1}}, id="by user"),
        pytest.param({"ip_proto": 6}, id="by protocol"),
        pytest.param({"dport_range": {"start": 1, "end": 1}}, id="by port"),
        pytest.param({"suppress_prefixlen": 0}, id="suppressing"),
        pytest.param({"l3mdev": 1}, id="of a VRF"),
        pytest.param({"goto": 5}, id="a jump"),
        pytest.param({"tos": 4}, id="by TOS"),
    ],
)
def test_a_rule_that_says_more_is_another_rule(fields: dict[str, Any]) -> None:
    plain: Any = {
        "family": AF_INET, "dst_len": 0, "src_len": 0, "tos": 0, "table": 7, "flags": 0,
        "action": FR_ACT_TO_TBL, "priority": 9, "protocol": 112,
        "suppress_prefixlen": 0xFFFFFFFF,
    }  # fmt: skip
    assert parse_rule(plain) == Rule(family=Family.IPV4, priority=9, table=7)
    message: Any = dict(plain)
    message.update(fields)
    assert parse_rule(message) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, FdbEntry("podway.1", MAC, ip_address("192.0.2.2")), id="ours"),
        pytest.param({"flags": NTF_MASTER}, None, id="the bridge's"),
        pytest.param({"state": NUD_REACHABLE}, None, id="learned"),
        pytest.param({"dst": None}, None, id="of the device itself"),
    ],
)
def test_forwarding_entries(fields: dict[str, Any], expected: FdbEntry | None) -> None:
    plain = {
        "family": AF_BRIDGE, "ifindex": 4, "state": NUD_PERMANENT, "flags": NTF_SELF,
        "lladdr": MAC, "dst": bytes((192, 0, 2, 2)),
    }  # fmt: skip
    message: Any = {**plain, **fields}
    if message["dst"] is None:
        del message["dst"]
    assert parse_neighbour(message, "podway.1") == expected


def test_a_neighbour_that_was_learned_is_nothing() -> None:
    message: Any = {
        "family": AF_INET, "ifindex": 4, "state": NUD_REACHABLE, "flags": 0, "lladdr": MAC,
        "dst": bytes((10, 0, 0, 1)),
    }  # fmt: skip
    assert parse_neighbour(message, "podway.1") is None
    message["state"] = NUD_PERMANENT
    expected = Neighbour("podway.1", ip_address("10.0.0.1"), MAC)
    assert parse_neighbour(message, "podway.1") == expected


def test_ipv6_refusals_stand_on_no_device() -> None:
    message: Any = {
        "family": AF_INET6, "dst_len": 64, "src_len": 0, "tos": 0, "table": 254, "protocol": 112,
        "scope": 0, "type": 6, "flags": 0, "dst": ip_address("fd02::").packed, "oif": 1,
        "priority": 1024,
    }  # fmt: skip
    expected = Route(dst=ip_network("fd02::/64"), kind="blackhole", metric=1024)
    assert parse_route(message, name_of) == expected


# --- operations ---------------------------------------------------------------------------------


def write(item: KernelObject) -> Operation:
    return Operation(Verb.CREATE, item.key, item)


def erase(item: KernelObject) -> Operation:
    return Operation(Verb.DELETE, item.key, None, item)


def test_batches_keep_the_order_and_part_what_goes_apart() -> None:
    neighbour = Neighbour("podway.1", ip_address("10.2.0.0"), MAC)
    sysctl = Sysctl("ipv4/ip_forward", "1")
    operations = [
        erase(ROUTE),
        erase(neighbour),
        erase(VTEP),
        write(VTEP),
        Operation(Verb.CHANGE, VTEP.key, VTEP, VTEP),
        write(Address("podway.1", ip_interface("10.1.0.0/32"))),
        write(sysctl),
        write(sysctl),
        write(neighbour),
        write(ROUTE),
        write(NftTable("inet", "podway", "")),
    ]
    found = [list(batch) for batch in batches(operations)]
    assert [operation for batch in found for operation in batch] == operations
    assert [len(batch) for batch in found] == [2, 1, 1, 2, 2, 2, 1]
    assert list(batches([])) == []


def test_what_stands_on_nothing_is_refused_before_it_is_sent() -> None:
    with pytest.raises(NoDeviceError) as caught:
        requests_of(write(replace(ROUTE, dev="nothing")), index_of)
    assert caught.value.dev == "nothing"


def test_routes_are_deleted_with_the_protocol_that_was_seen() -> None:
    (request,) = requests_of(erase(replace(ROUTE, protocol=4)), index_of)
    assert request.fields["protocol"] == 4


def test_forwarding_entries_are_deleted_wherever_they_lead() -> None:
    entry = FdbEntry("podway.1", MAC, ip_address("192.0.2.2"))
    (request,) = requests_of(erase(entry), index_of)
    assert "dst" not in request.fields


# --- sysctl paths and errors --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "dev"),
    [
        ("ipv6/conf/podway.1/accept_ra", "podway.1"),
        ("ipv4/neigh/cni0/proxy_delay", "cni0"),
        ("ipv4/conf/all/forwarding", ""),
        ("ipv4/conf/default/rp_filter", ""),
        ("ipv4/ip_forward", ""),
        ("netfilter/nf_conntrack_max", ""),
    ],
)
def test_sysctls_of_devices(path: str, dev: str) -> None:
    assert device_of_path(path) == dev
    assert checked_path(path) == f"sys/net/{path}"


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "ipv4/../../vm/swappiness", "..", "ipv4//x", "ipv4/./x", "ipv4/"]
)
def test_sysctls_stay_below_their_root(path: str) -> None:
    with pytest.raises(KernelError) as caught:
        checked_path(path)
    assert caught.value.errno == 22


@pytest.mark.parametrize(
    ("error", "number", "text"),
    [
        pytest.param(
            NetlinkError(1, "create link x"),
            1,
            "create link x: Operation not permitted (needs root, or CAP_NET_ADMIN in this "
            "namespace)",
            id="without rights",
        ),
        pytest.param(
            NetlinkError(95, "create link x kind wireguard", "Unknown device type"),
            95,
            "create link x kind wireguard: Operation not supported: Unknown device type "
            "(this kernel has no support for it)",
            id="unknown to the kernel",
        ),
        pytest.param(
            NetlinkError(101, "replace route x", "Nexthop has invalid gateway"),
            101,
            "replace route x: Network is unreachable: Nexthop has invalid gateway",
            id="in the kernel's words",
        ),
        pytest.param(
            NetnsError(2, "open network namespace /x"),
            2,
            "open network namespace /x: No such file or directory",
            id="no namespace",
        ),
        pytest.param(
            EncodeError("lladdr", "x", "must be a MAC"),
            22,
            None,
            id="no message",
        ),
    ],
)
def test_errors_keep_their_number_and_words(
    error: NetlinkError | NetnsError | EncodeError, number: int, text: str | None
) -> None:
    found = kernel_error(error)
    assert found.errno == number
    assert text is None or str(found) == text
