"""What a flanneld left is found in the kernel and becomes podway's in place."""

import errno
import json
from typing import Any

import pytest

from netns.conftest import Netns, ReadJson, run
from podway.compute.adoption import Adoption, compute_adoption, vtep_macs
from podway.kernel.leftovers import adopt, read_leftovers
from podway.kernel.protocol import KernelError
from podway.model.addresses import Family
from podway.model.instances import Instance, instance_of
from podway.model.kernel import FdbEntry, Neighbour

MACS = {"flannel.1": "02:f1:00:00:00:04", "flannel-v6.1": "02:f1:00:00:00:06"}
RENAMES = pytest.mark.kernel("rename_up")
PODWAY, FLANNEL, BLUE = instance_of(""), instance_of("", "flannel"), instance_of("blue")


def dual_node(netns: Netns) -> None:
    """Make both VTEPs with one peer each, and things that are not flanneld's."""
    netns.ip("link", "add", "eth0", "type", "veth", "peer", "peer0")
    for dev in ("eth0", "peer0"):
        netns.ip("link", "set", dev, "up")
    netns.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
    netns.ip("address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    _vtep(netns, "flannel.1", "192.0.2.1", own="10.244.1.0/32", peer="10.244.2.0/24")
    _vtep(netns, "flannel-v6.1", "2001:db8::1", own="fd00:1::/128", peer="fd00:2::/64")
    netns.ip("route", "add", "203.0.113.0/24", "dev", "flannel.1", "proto", "static")
    netns.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.9")


def _vtep(netns: Netns, dev: str, local: str, *, own: str, peer: str) -> None:
    gateway, remote = peer.partition("/")[0], f"{local[:-1]}2"
    port = ("dstport", "8472", "nolearning")
    kind = ("type", "vxlan", "id", "1", "dev", "eth0", "local", local, *port)
    netns.ip("link", "add", dev, "address", MACS[dev], *kind)
    netns.ip("address", "add", own, "dev", dev, *(("nodad",) if ":" in own else ()))
    netns.ip("link", "set", dev, "up")
    mac = "02:f1:00:00:00:99"
    netns.ip("neigh", "add", gateway, "lladdr", mac, "nud", "permanent", "dev", dev)
    target = ("dev", dev, "dst", remote, "self", "permanent")
    run("bridge", "-n", netns.name, "fdb", "append", mac, *target)
    netns.ip("route", "add", peer, "via", gateway, "dev", dev, "onlink")


def links(netns: Netns, ip_json: ReadJson) -> dict[int, tuple[str, str, str]]:
    """Return name, MAC and alias of the VTEPs by index."""
    return {
        each["ifindex"]: (each["ifname"], each["address"], each.get("ifalias", ""))
        for each in ip_json(netns, "link", "show", "type", "vxlan")
    }


def routes(netns: Netns) -> set[tuple[str, str, str]]:
    listed: list[dict[str, Any]] = [
        *json.loads(netns.ip("-j", "route")),
        *json.loads(netns.ip("-j", "-6", "route")),
    ]
    return {(each["dst"], each["dev"], each.get("protocol", "boot")) for each in listed}


@pytest.mark.parametrize(
    ("instance", "names"),
    [
        pytest.param(PODWAY, ("podway.1", "podway-v6.1"), id="podway's names", marks=RENAMES),
        pytest.param(FLANNEL, ("flannel.1", "flannel-v6.1"), id="names kept"),
        pytest.param(BLUE, ("blue.1", "blue-v6.1"), id="an instance's", marks=RENAMES),
    ],
)
def test_both_families(
    netns: Netns, ip_json: ReadJson, instance: Instance, names: tuple[str, str]
) -> None:
    dual_node(netns)
    before = links(netns, ip_json)
    left = read_leftovers(instance, netns.fd)
    assert {link.name for link in left.links} == set(MACS)
    assert {str(route.dst) for route in left.routes} == {"10.244.2.0/24", "fd00:2::/64"}
    assert [str(route.dst) for route in left.direct] == ["198.51.100.0/24"]
    assert len([each for each in left.entries if isinstance(each, Neighbour | FdbEntry)]) == 4
    assert vtep_macs(left.links, 1) == {
        Family.IPV4: MACS["flannel.1"],
        Family.IPV6: MACS["flannel-v6.1"],
    }
    assert vtep_macs(left.links, 2) == {}

    adopt(compute_adoption(left, instance), netns.fd)

    alias = f"{instance.marks.alias}vtep"
    wanted = dict(zip(MACS, names, strict=True))
    assert links(netns, ip_json) == {
        index: (wanted[name], mac, alias) for index, (name, mac, _) in before.items()
    }
    protocol = str(instance.marks.protocol)
    ours = {("10.244.2.0/24", names[0], protocol), ("fd00:2::/64", names[1], protocol)}
    assert {each for each in routes(netns) if each[2] == protocol} == ours
    assert ("203.0.113.0/24", names[0], "static") in routes(netns)
    assert ("198.51.100.0/24", "eth0", "boot") in routes(netns)


@RENAMES
def test_what_was_done_in_part_is_finished(netns: Netns, ip_json: ReadJson) -> None:
    dual_node(netns)
    whole = compute_adoption(read_leftovers(PODWAY, netns.fd), PODWAY)
    adopt(Adoption(links=whole.links[:1]), netns.fd)
    adopt(compute_adoption(read_leftovers(PODWAY, netns.fd), PODWAY), netns.fd)
    assert {name for name, _, _ in links(netns, ip_json).values()} == {"podway.1", "podway-v6.1"}
    assert compute_adoption(read_leftovers(PODWAY, netns.fd), PODWAY) == Adoption()


def test_a_node_that_never_had_a_flanneld(netns: Netns) -> None:
    assert compute_adoption(read_leftovers(PODWAY, netns.fd), PODWAY) == Adoption()


def test_devices_that_only_have_such_a_name(netns: Netns) -> None:
    netns.ip("link", "add", "flannel.7", "type", "bridge")
    left = read_leftovers(FLANNEL, netns.fd)
    assert (left.links, left.strange) == ((), ("flannel.7",))


@pytest.mark.kernel("ipip")
def test_ipip(netns: Netns, ip_json: ReadJson) -> None:
    netns.ip("link", "add", "eth0", "type", "veth", "peer", "peer0")
    netns.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
    netns.ip("link", "set", "eth0", "up")
    netns.ip("link", "add", "flannel.ipip", "type", "ipip", "local", "192.0.2.1")
    netns.ip("link", "set", "flannel.ipip", "up")
    netns.ip("route", "add", "10.244.2.0/24", "via", "192.0.2.2", "dev", "flannel.ipip", "onlink")
    adopt(compute_adoption(read_leftovers(FLANNEL, netns.fd), FLANNEL), netns.fd)
    (link,) = ip_json(netns, "link", "show", "flannel.ipip")
    assert link["ifalias"] == "podway:ipip"
    assert ("10.244.2.0/24", "flannel.ipip", "112") in routes(netns)


@pytest.mark.kernel("uml")
def test_a_kernel_that_renames_nothing_that_is_up(netns: Netns, ip_json: ReadJson) -> None:
    """Before Linux 6.2, as Debian 12 has it: nothing is done, and the old names can be kept."""
    dual_node(netns)
    before = links(netns, ip_json), routes(netns)
    with pytest.raises(KernelError) as refused:
        adopt(compute_adoption(read_leftovers(PODWAY, netns.fd), PODWAY), netns.fd)
    assert refused.value.errno == errno.EBUSY
    assert (links(netns, ip_json), routes(netns)) == before
    adopt(compute_adoption(read_leftovers(FLANNEL, netns.fd), FLANNEL), netns.fd)
    assert ("10.244.2.0/24", "flannel.1", "112") in routes(netns)
