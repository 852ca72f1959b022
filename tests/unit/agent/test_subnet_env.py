"""The file that a node's CNI plugin reads."""

import stat
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from podway.agent.subnet_env import SubnetFile, parse_subnets, render_subnet_env, wishing_for
from podway.compute.node import Place
from podway.kernel.logs import get_log
from podway.model.addresses import Family
from podway.model.networks import parse_network
from podway.model.nodes import Claim, Lease, Node, Uplink, VtepData, Wish

DUAL = """{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:244::/48",
 "Backend": {"Type": "vxlan"}}"""
UPLINK = Uplink(dev="eth0", mtu=1500, addresses=(ip_interface("192.0.2.1/24"),))
FOUR = Lease(
    subnet=ip_network("10.244.1.0/24"),
    public_ip=ip_address("192.0.2.1"),
    data=VtepData(vni=1, mac="02:00:00:00:00:01"),
)
SIX = Lease(
    subnet=ip_network("fd00:244:0:1::/64"),
    public_ip=ip_address("2001:db8::1"),
    data=VtepData(vni=1, mac="02:00:00:00:00:02"),
)


def place(text: str, *leases: Lease, mtu: int = 1500) -> Place:
    network = parse_network(text)
    me = Node(name="n1", backend="vxlan", leases=leases)
    uplink = Uplink(dev="eth0", mtu=mtu, addresses=UPLINK.addresses)
    return Place(network=network, me=me, uplink=uplink, bridge=False)


SINGLE = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'


@pytest.mark.parametrize(
    ("place", "text"),
    [
        pytest.param(
            place(SINGLE, FOUR),
            "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n"
            "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
            id="one family",
        ),
        pytest.param(
            place(DUAL, FOUR, SIX),
            "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n"
            "FLANNEL_IPV6_NETWORK=fd00:244::/48\nFLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64\n"
            "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n",
            id="both, with the smaller MTU",
        ),
        pytest.param(
            place(SINGLE.replace("}}", '}, "Masquerade": false}'), FOUR),
            "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n"
            "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
            id="no masquerade",
        ),
    ],
)
def test_it_says_what_flanneld_would(place: Place, text: str) -> None:
    assert render_subnet_env(place) == text


@pytest.mark.parametrize(
    ("text", "subnets"),
    [
        ("", {}),
        ("FLANNEL_SUBNET=10.244.1.1/24\n", {Family.IPV4: "10.244.1.0/24"}),
        ('FLANNEL_SUBNET="10.244.1.1/24"', {Family.IPV4: "10.244.1.0/24"}),
        ("FLANNEL_SUBNET=10.244.1.1/33\nFLANNEL_MTU=1450", {}),
        (
            render_subnet_env(place(DUAL, FOUR, SIX)),
            {Family.IPV4: "10.244.1.0/24", Family.IPV6: "fd00:244:0:1::/64"},
        ),
    ],
)
def test_the_former_subnets_are_read(text: str, subnets: dict[Family, str]) -> None:
    assert {family: str(subnet) for family, subnet in parse_subnets(text).items()} == subnets


def test_a_claim_wishes_for_them() -> None:
    wish = Wish(family=Family.IPV4, public_ip=ip_address("192.0.2.1"))
    claim = Claim(name="n1", backend="vxlan", wishes=(wish,))
    found = wishing_for(claim, parse_subnets("FLANNEL_SUBNET=10.244.7.1/24"))
    assert [each.subnet for each in found.wishes] == [ip_network("10.244.7.0/24")]
    assert wishing_for(claim, {}) == claim


def test_the_file_is_kept_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "flannel" / "subnet.env"
    file = SubnetFile(path, get_log("test"))
    file.keep()
    assert not path.exists()
    file.keep(place(SINGLE, FOUR))
    assert path.read_text() == render_subnet_env(place(SINGLE, FOUR))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    inode = path.stat().st_ino
    file.keep(place(SINGLE, FOUR))
    assert path.stat().st_ino == inode
    path.unlink()
    file.keep()
    assert path.exists()
    file.keep(place(SINGLE, FOUR, mtu=9000))
    assert "FLANNEL_MTU=8950\n" in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["subnet.env"]


def test_why_it_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file = SubnetFile(tmp_path / "file" / "subnet.env", get_log("test"))
    file.keep(place(SINGLE, FOUR))
    assert "cannot be written" in file.error
