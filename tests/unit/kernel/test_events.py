"""Notifications to events: what is news, what is an echo, what is nobody's business."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from podway.kernel.events import Translator
from podway.kernel.known import Known
from podway.kernel.protocol import DeviceChanged, ForwardChanged, Overrun, Seen, UplinkChanged
from podway.kernel.tables import changed
from podway.model.kernel import Bridge, Link, NftTable, Route, Sysctl, link_key
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWNETCONF,
    RTM_NEWROUTE,
)
from podway.netlink.events import OVERRUN, Event

BRIDGE = Link(name="cni0", kind=Bridge(), mtu=1500, mac="02:00:00:00:00:02", hairpin=False)
ROUTE = Route(dst=ip_network("10.2.0.0/24"), dev="eth0", via=ip_address("192.0.2.2"))
TABLE = NftTable("inet", "podway", "chain c {\n}")


def device(index: int, name: str, *, up: bool = True, alias: str = "", mtu: int = 1500) -> Any:
    return {
        "family": 0, "index": index, "ifname": name, "flags": int(up), "mtu": mtu,
        "address": "02:00:00:00:00:02", "ifalias": alias, "linkinfo": {"kind": "bridge"},
    }  # fmt: skip


def link_event(kind: int, *words: Any, **fields: Any) -> Event:
    return Event(kind, "RTM_xLINK", device(*words, **fields), 0)


def route_event(kind: int, protocol: int = 112, via: str = "192.0.2.2") -> Event:
    fields = {
        "family": AF_INET, "dst_len": 24, "table": 254, "protocol": protocol, "scope": 0,
        "type": 1, "flags": 0, "dst": bytes((10, 2, 0, 0)), "oif": 2,
        "gateway": ip_address(via).packed,
    }  # fmt: skip
    return Event(kind, "RTM_xROUTE", fields, 0)


def commit(*tables: tuple[str, str]) -> list[Event]:
    messages = [
        Event(0, f"NFT_MSG_{verb}", {"family": 1, "table": name}, 0) for verb, name in tables
    ]
    return [*messages, Event(0, "NFT_MSG_NEWGEN", {"gen_id": 2}, 0)]


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def translator(known: Known) -> Translator:
    made = Translator(known, lambda _index: "")
    made.start_from([device(2, "eth0"), device(3, "cni0", alias="podway:bridge")])
    return made


def test_nothing_is_no_news(translator: Translator) -> None:
    assert translator.news() == []
    assert not translator.has_news


def test_the_echo_of_a_write_is_no_news(translator: Translator, known: Known) -> None:
    known.put(ROUTE.key, ROUTE)
    translator.take([route_event(RTM_NEWROUTE)])
    assert translator.news() == []


def test_what_differs_is_news_once(translator: Translator, known: Known) -> None:
    known.put(ROUTE.key, ROUTE)
    other = replace(ROUTE, via=ip_address("192.0.2.9"))
    translator.take([route_event(RTM_NEWROUTE, via="192.0.2.9")] * 3)
    assert translator.has_news
    assert translator.news() == [Seen(ROUTE.key, other)]
    translator.take([route_event(RTM_NEWROUTE, via="192.0.2.9")])
    assert translator.news() == []


def test_gone_and_back_again_is_no_news(translator: Translator, known: Known) -> None:
    known.put(ROUTE.key, ROUTE)
    translator.take([route_event(RTM_DELROUTE), route_event(RTM_NEWROUTE)])
    assert translator.news() == []
    translator.take([route_event(RTM_NEWROUTE), route_event(RTM_DELROUTE)])
    assert translator.news() == [Seen(ROUTE.key, None)]


def test_a_foreign_route_matters_only_in_our_routes_place(
    translator: Translator, known: Known
) -> None:
    translator.take([route_event(RTM_NEWROUTE, protocol=4)])
    assert translator.news() == []
    known.put(ROUTE.key, ROUTE)
    translator.take([route_event(RTM_NEWROUTE, protocol=4)])
    assert translator.news() == [Seen(ROUTE.key, replace(ROUTE, protocol=4))]


def test_what_was_told_before_a_reading_is_old(translator: Translator, known: Known) -> None:
    translator.take([route_event(RTM_NEWROUTE)])
    translator.supersede({})
    assert translator.news() == []
    translator.take([route_event(RTM_NEWROUTE)])
    translator.supersede({}, "eth0")
    assert translator.news() == []
    assert ROUTE.key not in known


def test_devices_going_up_and_down(translator: Translator) -> None:
    down = link_event(RTM_NEWLINK, 3, "cni0", up=False, alias="podway:bridge")
    up = link_event(RTM_NEWLINK, 3, "cni0", alias="podway:bridge")
    translator.take([down, up])
    assert DeviceChanged("cni0") in translator.news()
    translator.expect_flip("cni0", up=False)
    translator.take([down])
    assert DeviceChanged("cni0") not in translator.news()
    translator.expect_flip("cni0", up=True)
    translator.take([up, down])
    assert DeviceChanged("cni0") in translator.news()


def test_an_expectation_ends_with_the_write(translator: Translator) -> None:
    translator.expect_flip("eth0", up=False)
    translator.settle()
    translator.take([link_event(RTM_NEWLINK, 2, "eth0", up=False)])
    assert translator.news() == [DeviceChanged("eth0"), UplinkChanged("eth0")]


def test_others_devices(translator: Translator) -> None:
    translator.take([link_event(RTM_NEWLINK, 2, "eth0")])
    assert translator.news() == [], "nothing that matters has changed"
    translator.take([link_event(RTM_NEWLINK, 2, "eth0", mtu=9000)])
    assert translator.news() == [UplinkChanged("eth0")]
    translator.take([link_event(RTM_NEWLINK, 9, "new")])
    assert translator.news() == [DeviceChanged("new"), UplinkChanged("new")]
    translator.take([link_event(RTM_DELLINK, 9, "new")])
    assert translator.news() == [DeviceChanged("new"), UplinkChanged("new")]


def test_a_device_is_ours_from_its_mark_on(translator: Translator) -> None:
    bare = link_event(RTM_NEWLINK, 7, "cni9", up=False)
    marked = link_event(RTM_NEWLINK, 7, "cni9", alias="podway:bridge")
    translator.take([bare, marked])
    found = translator.news()
    assert UplinkChanged("cni9") not in found
    assert isinstance(found[0], Seen)
    translator.take([link_event(RTM_NEWLINK, 7, "cni9")])
    assert [event.key for event in translator.news() if isinstance(event, Seen)] == [
        link_key("cni9")
    ]


def test_a_renamed_device_is_gone_under_its_old_name(translator: Translator, known: Known) -> None:
    known.put(BRIDGE.key, BRIDGE)
    translator.take([link_event(RTM_NEWLINK, 3, "other", alias="podway:bridge")])
    seen = [event for event in translator.news() if isinstance(event, Seen)]
    assert Seen(BRIDGE.key, None) in seen
    assert link_key("other") in {event.key for event in seen}


def test_ports_speak_of_hairpin(translator: Translator, known: Known) -> None:
    port = replace(BRIDGE, master="br", hairpin=True)
    known.put(port.key, port)
    fields = {"family": AF_BRIDGE, "index": 3, "ifname": "cni0", "flags": 1}
    translator.take([Event(RTM_NEWLINK, "", {**fields, "protinfo": {"mode": 1}}, 0)])
    assert translator.news() == []
    translator.take([Event(RTM_NEWLINK, "", {**fields, "protinfo": {"mode": 0}}, 0)])
    assert translator.news() == [Seen(port.key, replace(port, hairpin=False))]
    translator.take([Event(RTM_NEWLINK, "", {**fields, "protinfo": {"state": 3}}, 0)])
    translator.take([Event(RTM_DELLINK, "", fields, 0)])
    assert translator.news() == [], "a port that leaves its bridge is still a device"


def test_addresses_of_others_are_the_uplinks(translator: Translator) -> None:
    fields = {"family": AF_INET, "index": 2, "prefixlen": 24, "local": bytes((10, 0, 0, 1))}
    translator.take([Event(RTM_NEWADDR, "", fields, 0)])
    assert translator.news() == [UplinkChanged("eth0")]
    translator.take([Event(RTM_NEWADDR, "", {**fields, "index": 99}, 0)])
    assert translator.news() == []


def test_others_neighbours_are_nobodys_business(translator: Translator) -> None:
    fields = {
        "family": AF_INET, "ifindex": 2, "state": 128, "flags": 0, "dst": bytes((10, 0, 0, 1)),
        "lladdr": "02:00:00:00:00:09",
    }  # fmt: skip
    translator.take([Event(RTM_NEWNEIGH, "", fields, 0)])
    assert translator.news() == []
    translator.take([Event(RTM_NEWNEIGH, "", {**fields, "ifindex": 3, "state": 2}, 0)])
    assert translator.news() == [], "learned on our device"
    translator.take([Event(RTM_NEWNEIGH, "", {**fields, "ifindex": 3}, 0)])
    (event,) = translator.news()
    assert isinstance(event, Seen)


@pytest.mark.parametrize(
    ("fields", "path", "value"),
    [
        ({"ifindex": -1, "forwarding": 0}, "ipv4/ip_forward", "0"),
        ({"ifindex": -1, "forwarding": 0}, "ipv4/conf/all/forwarding", "0"),
        ({"ifindex": -2, "rp_filter": 1}, "ipv4/conf/default/rp_filter", "1"),
        ({"ifindex": 3, "proxy_neigh": 0}, "ipv4/conf/cni0/proxy_arp", "0"),
    ],
)
def test_sysctls_that_are_told(
    translator: Translator, known: Known, fields: dict[str, int], path: str, value: str
) -> None:
    event = Event(RTM_NEWNETCONF, "", {"family": AF_INET, **fields}, 0)
    translator.take([event])
    assert translator.news() == [], "not ours to watch"
    dev = "cni0" if "cni0" in path else ""
    known.put(Sysctl(path, "").key, Sysctl(path, "7", dev))
    translator.take([event])
    assert translator.news() == [Seen(Sysctl(path, "").key, Sysctl(path, value, dev))]


def test_our_own_commit_among_others(translator: Translator, known: Known) -> None:
    known.put(TABLE.key, TABLE)
    told = commit(("NEWTABLE", "podway"), ("NEWCHAIN", "podway"))
    translator.take_commits(told, own=True)
    assert translator.news() == []
    translator.take_commits(told)
    assert translator.news() == [Seen(TABLE.key, changed("inet", "podway"))]
    known.put(TABLE.key, TABLE)
    translator.take_commits([*told, *told], own=True)
    assert translator.news() == [Seen(TABLE.key, changed("inet", "podway"))], "one was not ours"


def test_tables_of_others_and_deletions(translator: Translator, known: Known) -> None:
    translator.take_commits(commit(("NEWTABLE", "kube-proxy")))
    assert translator.news() == []
    known.put(TABLE.key, TABLE)
    translator.take_commits(commit(("DELTABLE", "podway")))
    assert translator.news() == [Seen(TABLE.key, None)]


@pytest.mark.parametrize(
    ("name", "family", "fields", "told"),
    [
        pytest.param("NEWRULE", 2, {"table": "filter", "chain": "FORWARD"}, True, id="a rule"),
        pytest.param("DELRULE", 10, {"table": "filter", "chain": "FORWARD"}, True, id="IPv6"),
        pytest.param("NEWCHAIN", 2, {"table": "filter", "name": "FORWARD"}, True, id="its policy"),
        pytest.param("DELRULE", 2, {"table": "filter", "chain": "PODWAY-FWD"}, True, id="in ours"),
        pytest.param("DELTABLE", 2, {"table": "filter"}, True, id="the whole table"),
        pytest.param("NEWRULE", 2, {"table": "filter", "chain": "DOCKER"}, False, id="elsewhere"),
        pytest.param("NEWRULE", 2, {"table": "nat", "chain": "FORWARD"}, False, id="in nat"),
        pytest.param("NEWRULE", 1, {"table": "filter", "chain": "FORWARD"}, False, id="of inet"),
        pytest.param("NEWSET", 2, {"table": "filter", "name": "x"}, False, id="a set"),
    ],
)
def test_forward_of_iptables(
    translator: Translator, name: str, family: int, fields: dict[str, str], *, told: bool
) -> None:
    message = Event(0, f"NFT_MSG_{name}", {"family": family, **fields}, 0)
    translator.take_commits([message, Event(0, "NFT_MSG_NEWGEN", {"gen_id": 2}, 0)])
    assert translator.has_news == told
    assert translator.news() == ([ForwardChanged()] if told else [])
    assert translator.news() == []


def test_a_commit_in_two_readings(translator: Translator, known: Known) -> None:
    known.put(TABLE.key, TABLE)
    first, last = commit(("NEWCHAIN", "podway"))
    translator.take_commits([first])
    assert translator.news() == []
    translator.take_commits([last])
    assert translator.news() == [Seen(TABLE.key, changed("inet", "podway"))]


def test_lost_notifications_come_first(translator: Translator) -> None:
    translator.take([link_event(RTM_NEWLINK, 2, "eth0", mtu=9000), OVERRUN])
    assert translator.news() == [Overrun(), UplinkChanged("eth0")]
    translator.take_commits([OVERRUN])
    translator.lose()
    assert translator.news() == [Overrun()]
    assert translator.news() == []
