"""Names and marks of one agent among several."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podway.compute.dressing import dress, dressed_name
from podway.errors import ConfigError
from podway.model.instances import (
    DEFAULT_INSTANCE,
    PODWAY,
    Instance,
    instance_of,
    is_unfinished,
)
from podway.model.kernel import (
    UNFINISHED_ALIAS,
    WIREGUARD_ALIAS,
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Link,
    NextHop,
    NftTable,
    Route,
    Sysctl,
    Veth,
)

BLUE = instance_of("blue")
FLANNEL = instance_of("", "flannel")


@pytest.mark.parametrize(
    ("dev", "flannel", "blue"),
    [
        ("podway.1", "flannel.1", "blue.1"),
        ("podway-v6.1", "flannel-v6.1", "blue-v6.1"),
        ("podway.ipip", "flannel.ipip", "blue.ipip"),
        ("podway-wg", "flannel-wg", "blue-wg"),
        ("podway-wg-v6", "flannel-wg-v6", "blue-wg-v6"),
        ("podway0", "flannel0", "blue0"),
        ("cni0", "cni0", "cni-blue"),
        ("podway.16777215", "flanne.16777215", "blue.16777215"),
        ("podway-v6.12345", "flann6.12345", "blue-v6.12345"),
        ("pw6.16777215", "flann6.16777215", "blue6.16777215"),
        ("eth0", "eth0", "eth0"),
        ("podway00", "podway00", "podway00"),
        ("pw0123456789abc", "pw0123456789abc", "pw0123456789abc"),
        ("", "", ""),
    ],
)
def test_devices_have_the_instances_names(dev: str, flannel: str, blue: str) -> None:
    assert dressed_name(dev, FLANNEL) == flannel
    assert dressed_name(dev, BLUE) == blue
    assert dressed_name(dev, DEFAULT_INSTANCE) == dev
    assert max(len(flannel), len(blue)) <= 15


def _objects(
    vtep: str, bridge: str, alias: str, protocol: int, table: str
) -> tuple[KernelObject, ...]:
    dst = ip_network("10.1.2.0/24")
    via = ip_address("10.1.2.0")
    return (
        Link(name=bridge, kind=Bridge(), alias=f"{alias}bridge"),
        Link(name="pw1", kind=Veth(), master=bridge, alias=f"{alias}pod a/b"),
        Address(vtep, ip_interface("10.1.1.0/32")),
        FdbEntry(vtep, "02:00:00:00:00:01", ip_address("192.0.2.1")),
        Route(dst=dst, dev=vtep, via=via, onlink=True, protocol=protocol),
        Route(dst=dst, nexthops=(NextHop(vtep), NextHop("eth0")), protocol=protocol),
        Route(dst=dst, dev="eth0", protocol=4),
        Sysctl("ipv4/ip_forward", "1"),
        Sysctl(f"ipv6/conf/{vtep}/accept_ra", "0", vtep),
        NftTable("inet", table, "chain c { }"),
        NftTable("inet", "kube-proxy", ""),
    )


PLAIN = _objects("podway.1", "cni0", "podway:", 112, "podway")


def test_marks_are_the_instances() -> None:
    marks = BLUE.marks
    wanted = _objects("blue.1", "cni-blue", "podway@blue:", marks.protocol, "podway-blue")
    assert dress(PLAIN, BLUE) == wanted
    assert marks.protocol != 112


def test_other_names_leave_the_marks() -> None:
    assert dress(PLAIN, FLANNEL) == _objects("flannel.1", "cni0", "podway:", 112, "podway")
    assert FLANNEL.marks == PODWAY


def test_the_one_without_a_name_is_as_computed() -> None:
    assert dress(PLAIN, instance_of("")) == PLAIN
    assert (PODWAY.unfinished, PODWAY.wireguard) == (UNFINISHED_ALIAS, WIREGUARD_ALIAS)


def test_nobody_takes_anothers_device_for_its_own() -> None:
    assert not BLUE.marks.alias.startswith(PODWAY.alias)
    assert not PODWAY.alias.startswith(BLUE.marks.alias)
    assert BLUE.marks.group != PODWAY.group


@pytest.mark.parametrize("instance", [BLUE, DEFAULT_INSTANCE])
def test_half_made_devices_are_known(instance: Instance) -> None:
    assert is_unfinished(instance.marks.unfinished)
    assert instance.marks.unfinished.startswith(instance.marks.alias)
    assert not is_unfinished(f"{instance.marks.alias}vtep")


@pytest.mark.parametrize("name", ["Blue", "1blue", "blue-1", "bluebell", "podway", "bl ue", "b/x"])
def test_names_that_no_device_can_have(name: str) -> None:
    with pytest.raises(ConfigError):
        instance_of(name)
