"""What we believe of the kernel, by key and by device."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from msgspec.structs import replace

from podway.kernel import tables
from podway.kernel.known import Known, devices_of
from podway.kernel.protocol import KernelError
from podway.kernel.tables import Tables
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    KernelObject,
    Link,
    NextHop,
    NftTable,
    Route,
    Rule,
    Sysctl,
)

LINK = Link(name="cni0", kind=Bridge())
ADDRESS = Address("cni0", ip_interface("10.1.0.1/24"))
WAYS = (NextHop("eth0", ip_address("192.0.2.2")), NextHop("cni0", ip_address("10.1.0.9")))
ROUTE = Route(dst=ip_network("10.2.0.0/24"), nexthops=WAYS)


@pytest.mark.parametrize(
    ("item", "devices"),
    [
        (LINK, ("cni0",)),
        (ADDRESS, ("cni0",)),
        (ROUTE, ("eth0", "cni0")),
        (Route(dst=ip_network("10.2.0.0/24"), kind="blackhole"), ()),
        (Sysctl("ipv4/ip_forward", "1"), ()),
        (Sysctl("ipv4/conf/cni0/forwarding", "1", "cni0"), ("cni0",)),
        (Rule(family=Family.IPV4, priority=1, table=1, iif="cni0"), ()),
        (NftTable("inet", "podway", ""), ()),
    ],
    ids=str,
)
def test_devices_of(item: KernelObject, devices: tuple[str, ...]) -> None:
    assert devices_of(item) == devices


def test_what_is_left_open_agrees_with_anything() -> None:
    known = Known()
    known.put(LINK.key, LINK)
    assert known.agrees(LINK.key, replace(LINK, mtu=1400, mac="02:00:00:00:00:01", hairpin=False))
    assert not known.agrees(LINK.key, replace(LINK, up=False))
    assert not known.agrees(LINK.key, None)
    assert known.agrees(ADDRESS.key, None)
    assert not known.agrees(ADDRESS.key, ADDRESS)


def test_a_device_that_was_read_holds_what_was_read() -> None:
    known = Known()
    other = Address("eth0", ip_interface("10.3.0.1/24"))
    known.put_all({item.key: item for item in (LINK, ADDRESS, ROUTE, other)})
    assert known.on_device("cni0") == {LINK.key, ADDRESS.key, ROUTE.key}
    known.put_device("cni0", {LINK.key: LINK})
    assert (LINK.key in known, ADDRESS.key in known, ROUTE.key in known) == (True, False, False)
    assert known.on_device("eth0") == {other.key}


def test_nothing_of_a_device_stays_behind() -> None:
    known = Known()
    for item in (LINK, ADDRESS, ROUTE):
        known.put(item.key, item)
        known.put(item.key, item)
        known.put(item.key, None)
    assert known._by_device == {}
    assert known._objects == {}


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LIBRARY", "libnftables-that-is-not-there.so.1")
    made = Tables()
    try:
        with pytest.raises(KernelError) as caught:
            made.write(NftTable("inet", "podway", ""))
    finally:
        made.close()
    assert "libnftables-that-is-not-there.so.1" in str(caught.value)
    assert "apt-get install libnftables1" in str(caught.value)
