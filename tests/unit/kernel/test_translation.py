"""What is written, field by field, and what is not taken for ours when it is read."""

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from podway.diff.compare import Difference, compare
from podway.kernel.addresses import address_fields
from podway.kernel.links import create_request, done_request, finish_requests, parse_link
from podway.kernel.neighbours import parse_neighbour
from podway.kernel.ownership import is_our_link
from podway.kernel.routes import parse_route
from podway.kernel.rules import parse_rule
from podway.model.addresses import Family
from podway.model.instances import UNFINISHED_GROUP
from podway.model.kernel import Bridge, FdbEntry, Link, Neighbour, PodSide, Route, Rule, Veth
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
from unit.kernel.objects import MAC, VTEP, index_of, name_of

POD = PodSide(netns="/run/netns/a", ifname="eth0", mac=MAC, mtu=1450, addresses=())


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
