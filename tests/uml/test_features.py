"""Each kernel feature that tests may ask for is made by hand, on the kernel that has it.

The witnesses are iproute2, nft and plain sockets. The namespace is the test's own.
"""

import json
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_features import PROBES, why_missing

# What Debian 12's user-mode-linux has, so that a probe that broke does not silently skip tests.
IN_UML = frozenset({
    "bond", "bridge_vlan_filtering", "dummy", "esp", "flower", "fq_codel", "geneve", "gre", "ifb",
    "ip6gre", "ip6tnl", "ipip", "ipvlan", "ipvs", "macvlan", "matchall", "netem", "police", "sctp",
    "sit", "tun", "uml", "vlan", "vrf", "vxlan",
})  # fmt: skip

pytestmark = pytest.mark.root


def needs(feature: str, *values: object) -> Any:
    """Return one row of a table, which runs where the feature is."""
    return pytest.param(feature, *values, id=feature, marks=pytest.mark.kernel(feature))


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@pytest.fixture
def netns() -> Iterator[str]:
    """Make a namespace with a pair of devices, port0 and port1."""
    name = f"pwuml-{uuid.uuid4().hex[:12]}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "link", "add", "port0", "type", "veth", "peer", "name", "port1")
        yield name
    finally:
        run("ip", "netns", "delete", name)


@pytest.mark.parametrize(
    ("feature", "kind", "arguments"),
    [
        needs("bond", "bond", "type bond"),
        needs("dummy", "dummy", "type dummy"),
        needs("geneve", "geneve", "type geneve id 7 remote 192.0.2.1"),
        needs("gre", "gre", "type gre local 192.0.2.1 remote 192.0.2.2"),
        needs("ifb", "ifb", "type ifb"),
        needs("ip6gre", "ip6gre", "type ip6gre local 2001:db8::1 remote 2001:db8::2"),
        needs("ip6tnl", "ip6tnl", "type ip6tnl local 2001:db8::1 remote 2001:db8::2"),
        needs("ipip", "ipip", "type ipip local 192.0.2.1 remote 192.0.2.2"),
        needs("ipvlan", "ipvlan", "link port0 type ipvlan mode l2"),
        needs("macvlan", "macvlan", "link port0 type macvlan mode bridge"),
        needs("sit", "sit", "type sit local 192.0.2.1 remote 192.0.2.2"),
        needs("vlan", "vlan", "link port0 type vlan id 7"),
        needs("vrf", "vrf", "type vrf table 7"),
        needs("vxlan", "vxlan", "type vxlan id 7 dstport 4789"),
        needs("wireguard", "wireguard", "type wireguard"),
    ],
)
def test_device(netns: str, feature: str, kind: str, arguments: str) -> None:
    run("ip", "-n", netns, "link", "add", "made0", *arguments.split())
    (link,) = json.loads(run("ip", "-n", netns, "-j", "-d", "link", "show", "made0"))
    assert link["linkinfo"]["info_kind"] == kind, feature


@pytest.mark.kernel("bridge_vlan_filtering")
def test_bridge_filters_vlans(netns: str) -> None:
    run("ip", "-n", netns, "link", "add", "made0", "type", "bridge", "vlan_filtering", "1")
    run("ip", "-n", netns, "link", "set", "port0", "master", "made0")
    run("bridge", "-n", netns, "vlan", "add", "dev", "port0", "vid", "7", "pvid", "untagged")
    (port,) = json.loads(run("bridge", "-n", netns, "-j", "vlan", "show", "dev", "port0"))
    assert {vlan["vlan"]: set(vlan["flags"]) for vlan in port["vlans"] if "flags" in vlan}[7] == {
        "PVID",
        "Egress Untagged",
    }


@pytest.mark.kernel("rename_up")
def test_device_that_is_up_gets_another_name(netns: str) -> None:
    run("ip", "-n", netns, "link", "set", "lo", "up")
    run("ip", "-n", netns, "link", "set", "lo", "name", "made0")
    (link,) = json.loads(run("ip", "-n", netns, "-j", "link", "show", "made0"))
    assert "UP" in link["flags"]


@pytest.mark.kernel("tun")
def test_tun_device(netns: str) -> None:
    run("ip", "-n", netns, "tuntap", "add", "made0", "mode", "tun")
    (link,) = json.loads(run("ip", "-n", netns, "-j", "-d", "link", "show", "made0"))
    assert link["linkinfo"]["info_kind"] == "tun"


@pytest.mark.parametrize(
    ("feature", "arguments"),
    [needs("fq_codel", "fq_codel"), needs("netem", "netem delay 1ms")],
)
def test_qdisc(netns: str, feature: str, arguments: str) -> None:
    run("tc", "-n", netns, "qdisc", "add", "dev", "port0", "root", *arguments.split())
    (qdisc,) = json.loads(run("tc", "-n", netns, "-j", "qdisc", "show", "dev", "port0"))
    assert qdisc["kind"] == feature


@pytest.mark.parametrize(
    ("feature", "arguments"),
    [
        needs("flower", "protocol ip flower ip_proto udp action drop"),
        needs("matchall", "matchall action drop"),
        needs("police", "protocol ip u32 match u32 0 0 police rate 1mbit burst 10k"),
    ],
)
def test_filter(netns: str, feature: str, arguments: str) -> None:
    run("tc", "-n", netns, "qdisc", "add", "dev", "port0", "clsact")
    run("tc", "-n", netns, "filter", "add", "dev", "port0", "ingress", *arguments.split())
    assert feature in run("tc", "-n", netns, "filter", "show", "dev", "port0", "ingress")


@pytest.mark.kernel("esp")
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        pytest.param("192.0.2.1", "192.0.2.2", id="ipv4"),
        pytest.param("2001:db8::1", "2001:db8::2", id="ipv6"),
    ],
)
def test_esp_state(netns: str, source: str, destination: str) -> None:
    aead = ["aead", "rfc4106(gcm(aes))", "0x00112233445566778899aabbccddeeff00112233", "128"]
    ends = ["src", source, "dst", destination, "proto", "esp", "spi", "7", "mode", "tunnel"]
    run("ip", "-n", netns, "xfrm", "state", "add", *ends, *aead)
    assert "proto esp spi 0x00000007" in run("ip", "-n", netns, "xfrm", "state")


@pytest.mark.kernel("sctp")
def test_sctp_carries_a_message() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as client:
            client.connect(server.getsockname())
            accepted, _peer = server.accept()
            with accepted:
                client.sendall(b"over sctp")
                assert accepted.recv(64) == b"over sctp"


@pytest.mark.kernel("ipvs")
def test_ipvs_shows_its_table(netns: str) -> None:
    run("ip", "netns", "exec", netns, "genl", "ctrl", "get", "name", "IPVS")
    table = run("ip", "netns", "exec", netns, "cat", "/proc/net/ip_vs")
    assert table.startswith("IP Virtual Server")


@pytest.mark.parametrize(
    ("feature", "ruleset"),
    [
        needs(
            "flowtable",
            "table inet made { flowtable f { hook ingress priority 0; devices = { port0 }; }; }",
        ),
        needs("nft_bridge", "table bridge made { chain c { meta ibrname made0 ct state new; }; }"),
        needs("nft_fib", "table inet made { chain c { fib saddr oif missing drop; }; }"),
        needs("nft_inet", "table inet made { chain c { ct state invalid drop; }; }"),
        needs("nft_ip", "table ip made { chain c { ct state invalid drop; }; }"),
        needs(
            "nft_nat",
            "table inet made { chain c { type nat hook prerouting priority -100; "
            "tcp dport 80 dnat ip to 192.0.2.1:8080; }; }",
        ),
        needs(
            "nft_netdev",
            "table netdev made { chain c "
            "{ type filter hook ingress device port1 priority 0; drop; }; }",
        ),
        needs("nft_numgen", "table inet made { chain c { meta mark set numgen random mod 7; }; }"),
        needs("nft_queue", "table inet made { chain c { queue num 7; }; }"),
        needs("nft_synproxy", "table inet made { chain c { synproxy mss 1460 wscale 7; }; }"),
        needs(
            "nft_tproxy",
            "table inet made { chain c { type filter hook prerouting priority -150; "
            "meta l4proto udp tproxy to :53; }; }",
        ),
    ],
)
def test_nf_tables(netns: str, feature: str, ruleset: str) -> None:
    run("ip", "netns", "exec", netns, "nft", ruleset)
    listed = json.loads(run("ip", "netns", "exec", netns, "nft", "-j", "list", "ruleset"))
    assert any("table" in item for item in listed["nftables"]), feature


@pytest.mark.kernel("uml")
@pytest.mark.parametrize("feature", sorted(IN_UML))
def test_user_mode_linux_has(feature: str) -> None:
    assert why_missing(feature) is None


@pytest.mark.kernel("uml")
def test_user_mode_linux_keeps_nothing_outside_the_checkout() -> None:
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    kinds = {line.split()[1]: line.split()[2] for line in mounts}
    assert (kinds["/"], kinds[str(Path.cwd())]) == ("overlay", "hostfs")


@pytest.mark.kernel("uml", "ipip", "sit", "ip6tnl", "gre")
def test_namespace_holds_what_a_test_put_into_it(netns: str) -> None:
    links = json.loads(run("ip", "-n", netns, "-j", "link"))
    assert {link["ifname"] for link in links} == {"lo", "port0", "port1"}


def test_every_feature_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in PROBES if f'"{name}"' not in text] == []
