"""Annotations byte for byte as flanneld writes them, and all else that may stand there."""

import json
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from podway.errors import ConfigError
from podway.model.addresses import Family
from podway.model.networks import Network, parse_network
from podway.model.nodes import (
    BackendData,
    Claim,
    ExtensionData,
    Node,
    VtepData,
    WireguardData,
    Wish,
)
from podway.store.flannel_data import FlannelDataError
from podway.store.kube_annotations import (
    named_interfaces,
    no_annotations,
    parse_node,
    parse_prefix,
    plan_claim,
    render_annotations,
    render_patch,
)
from podway.store.kube_objects import NodeRecord, decode_node
from podway.store.protocol import ClaimRefused

FLANNEL = "flannel.alpha.coreos.com/"
VTEP = '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}'
# A Node as a flanneld of a dual-stack vxlan network leaves it, with what a kubelet adds.
RECORDED = """{
 "kind": "Node", "apiVersion": "v1",
 "metadata": {
  "name": "worker-1", "uid": "5f2b", "resourceVersion": "4711",
  "labels": {"kubernetes.io/os": "linux"},
  "annotations": {
   "flannel.alpha.coreos.com/backend-data": "{\\"VNI\\":1,\\"VtepMAC\\":\\"12:c6:65:89:b4:e3\\"}",
   "flannel.alpha.coreos.com/backend-type": "vxlan",
   "flannel.alpha.coreos.com/backend-v6-data":
    "{\\"VNI\\":1,\\"VtepMAC\\":\\"a6:72:71:51:cf:8e\\"}",
   "flannel.alpha.coreos.com/kube-subnet-manager": "true",
   "flannel.alpha.coreos.com/public-ip": "192.168.64.3",
   "flannel.alpha.coreos.com/public-ipv6": "fd2e:6f44:5dd8::3",
   "node.alpha.kubernetes.io/ttl": "0"}},
 "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]},
 "status": {"conditions": [
  {"type": "NetworkUnavailable", "status": "False", "reason": "FlannelIsUp"},
  {"type": "Ready", "status": "True"}], "images": [{"names": ["x"], "sizeBytes": 1}]}}"""


def network(backend: str = "vxlan", **more: Any) -> Network:
    document = {"Network": "10.244.0.0/16", "Backend": {"Type": backend}, **more}
    return parse_network(json.dumps(document))


DUAL = network(EnableIPv6=True, IPv6Network="fd00:10:244::/48")


def record(annotations: dict[str, str], *cidrs: str) -> NodeRecord:
    return NodeRecord(name="n1", uid="u1", revision=1, annotations=annotations, pod_cidrs=cidrs)


def test_a_recorded_node_is_read_and_written_byte_for_byte() -> None:
    recorded = decode_node(RECORDED.encode(), FLANNEL)
    node = parse_node(recorded, DUAL)
    assert node is not None
    assert (recorded.uid, recorded.revision, recorded.network_unavailable) == (
        "5f2b",
        4711,
        "False",
    )
    assert [str(lease.subnet) for lease in node.leases] == ["10.244.1.0/24", "fd00:10:244:1::/64"]
    texts = {FLANNEL + name: text for name, text in render_annotations(node).items()}
    written = json.loads(RECORDED)["metadata"]["annotations"]
    assert texts == {name: text for name, text in written.items() if name.startswith(FLANNEL)}
    assert render_patch(recorded, render_annotations(node), FLANNEL) is None
    assert render_patch(recorded, {}, FLANNEL, available_since=datetime.now(UTC)) is None


@pytest.mark.parametrize(
    ("backend", "data", "type_text", "data_text"),
    [
        pytest.param("vxlan", VtepData(vni=1, mac="12:c6:65:89:b4:e3"), "vxlan", VTEP, id="vxlan"),
        pytest.param(
            "wireguard",
            WireguardData(public_key="aGVsbG8=", port=51820),
            "wireguard",
            '{"PublicKey":"aGVsbG8=","Port":51820}',
            id="wireguard",
        ),
        pytest.param("host-gw", None, "host-gw", "null", id="host-gw"),
        pytest.param("ipip", None, "ipip", "null", id="ipip"),
        pytest.param("extension", ExtensionData(text="a b"), "extension", '"a b"', id="extension"),
        pytest.param("udp", None, "", "null", id="udp names no type"),
        pytest.param("alloc", None, "", "null", id="alloc neither"),
    ],
)
def test_every_backends_annotations(
    backend: str, data: BackendData | None, type_text: str, data_text: str
) -> None:
    claim = Claim(
        name="n1",
        backend=backend,
        wishes=(Wish(family=Family.IPV4, public_ip=ip_address("192.0.2.1"), data=data),),
    )
    node = plan_claim(claim, record({}, "10.244.1.0/24"), network(backend))
    texts = render_annotations(node)
    assert texts == {
        "backend-type": type_text,
        "backend-data": data_text,
        "kube-subnet-manager": "true",
        "public-ip": "192.0.2.1",
        "backend-v6-data": None,
        "public-ipv6": None,
    }
    there = {name: text for name, text in texts.items() if text is not None}
    assert parse_node(record(there, "10.244.1.0/24"), network(backend)) == node


def test_the_patch_changes_what_differs_and_no_other_node() -> None:
    found = record({"backend-type": "vxlan", "public-ipv6": "::1"}, "10.244.1.0/24")
    texts = {"backend-type": "vxlan", "public-ip": "192.0.2.1", "public-ipv6": None}
    patch = render_patch(
        found, texts, FLANNEL, available_since=datetime(2026, 11, 21, 7, 0, 0, tzinfo=UTC)
    )
    assert patch is not None
    assert json.loads(patch) == {
        "metadata": {
            "uid": "u1",
            "annotations": {f"{FLANNEL}public-ip": "192.0.2.1", f"{FLANNEL}public-ipv6": None},
        },
        "status": {
            "conditions": [
                {
                    "type": "NetworkUnavailable",
                    "status": "False",
                    "reason": "FlannelIsUp",
                    "message": "Flannel is running on this node",
                    "lastTransitionTime": "2026-11-21T07:00:00Z",
                    "lastHeartbeatTime": "2026-11-21T07:00:00Z",
                }
            ]
        },
    }


def test_release_takes_everything_off_but_the_operators_inputs() -> None:
    found = record({"public-ip": "192.0.2.1", "public-ip-overwrite": "203.0.113.1"})
    patch = render_patch(found, no_annotations(), FLANNEL)
    assert patch is not None
    assert json.loads(patch)["metadata"]["annotations"] == {f"{FLANNEL}public-ip": None}


GOOD = {
    "kube-subnet-manager": "true",
    "backend-type": "vxlan",
    "backend-data": VTEP,
    "public-ip": "192.0.2.1",
}


@pytest.mark.parametrize(
    ("annotations", "cidrs"),
    [
        pytest.param({}, ("10.244.1.0/24",), id="nobody's"),
        pytest.param(
            {**GOOD, "kube-subnet-manager": "false"}, ("10.244.1.0/24",), id="not managed"
        ),
        pytest.param(GOOD, (), id="no subnet yet"),
        pytest.param({**GOOD, "public-ip-overwrite": "x"}, (), id="inputs are not read here"),
        pytest.param(
            {name: text for name, text in GOOD.items() if name != "public-ip"},
            ("10.244.1.0/24",),
            id="no address yet",
        ),
        pytest.param(GOOD, ("fd00:10:244:1::/64",), id="subnet of another family"),
    ],
)
def test_not_on_the_network(annotations: dict[str, str], cidrs: tuple[str, ...]) -> None:
    assert parse_node(record(annotations, *cidrs), network()) is None


@pytest.mark.parametrize(
    ("wrong", "cidrs"),
    [
        pytest.param({"backend-data": "{"}, ("10.244.1.0/24",), id="no JSON"),
        pytest.param({"backend-data": "[]"}, ("10.244.1.0/24",), id="no object"),
        pytest.param({"backend-data": '{"VtepMAC":"x"}'}, ("10.244.1.0/24",), id="no MAC"),
        pytest.param({"public-ip": "fd00::1"}, ("10.244.1.0/24",), id="address of IPv6"),
        pytest.param({"public-ip": "192.0.2.1; x"}, ("10.244.1.0/24",), id="no address"),
        pytest.param({}, ("10.244.1.1/24",), id="host bits"),
        pytest.param({}, ("0.0.0.0/0",), id="the whole world"),
        pytest.param({}, ("10.245.1.0/24",), id="another network"),
        pytest.param({}, ("10.244.1.0/24", "10.244.2.0/24"), id="two of one family"),
        pytest.param({}, ("10.244.1.0/24", "fd00::/64", "fd01::/64"), id="three"),
        pytest.param({}, ("nonsense",), id="no prefix"),
        pytest.param({}, ("10.244.1.0",), id="no length"),
        pytest.param({}, ("10.244.1.0/255.255.255.0",), id="a mask"),
        pytest.param({}, ("fd00:10:244:1::%1/64",), id="a zone"),
    ],
)
def test_what_cannot_be_used_is_named(wrong: dict[str, str], cidrs: tuple[str, ...]) -> None:
    with pytest.raises(FlannelDataError):
        parse_node(record({**GOOD, **wrong}, *cidrs), network())


def test_a_subnet_may_lie_in_any_prefix_of_the_network() -> None:
    several = network(Networks=["10.9.0.0/16", {"Network": "10.245.0.0/16", "Drain": True}])
    for subnet in ("10.244.1.0/24", "10.9.1.0/24", "10.245.1.0/24"):
        node = parse_node(record(GOOD, subnet), several)
        assert isinstance(node, Node)
        assert str(node.leases[0].subnet) == subnet
    with pytest.raises(FlannelDataError, match=r"10\.244\.0\.0/16, 10\.9\.0\.0/16"):
        parse_node(record(GOOD, "10.246.1.0/24"), several)


def test_a_dual_node_in_a_network_of_one_family_counts_in_that() -> None:
    node = parse_node(record(GOOD, "10.244.1.0/24", "fd00:10:244:1::/64"), network())
    assert isinstance(node, Node)
    assert [lease.family for lease in node.leases] == [Family.IPV4]


@pytest.mark.parametrize(
    ("inputs", "published"),
    [
        pytest.param({}, ["192.0.2.1", "2001:db8::1"], id="the node's own"),
        pytest.param(
            {"public-ip-overwrite": "203.0.113.1"}, ["203.0.113.1", "2001:db8::1"], id="IPv4"
        ),
        pytest.param(
            {"public-ipv6-overwrite": "2001:db8::99"}, ["192.0.2.1", "2001:db8::99"], id="IPv6"
        ),
        pytest.param(
            {"node-public-ip": "192.0.2.9", "node-public-ipv6": "2001:db8::9"},
            ["192.0.2.9", "2001:db8::9"],
            id="of an interface",
        ),
        pytest.param(
            {
                "node-public-ip": "192.0.2.9",
                "public-ip-overwrite": "203.0.113.1",
                "node-public-ipv6": "",
            },
            ["203.0.113.1", "2001:db8::1"],
            id="what is published comes first, an empty one says nothing",
        ),
    ],
)
def test_operators_name_addresses(inputs: dict[str, str], published: list[str]) -> None:
    wishes = tuple(
        Wish(family=family, public_ip=ip_address(address))
        for family, address in ((Family.IPV4, "192.0.2.1"), (Family.IPV6, "2001:db8::1"))
    )
    claim = Claim(name="n1", backend="host-gw", wishes=wishes)
    node = plan_claim(claim, record(inputs, "10.244.1.0/24", "fd00:10:244:1::/64"), DUAL)
    assert [str(lease.public_ip) for lease in node.leases] == published
    named = [text for name, text in inputs.items() if name.startswith("node-") and text]
    assert list(map(str, named_interfaces(record(inputs)))) == named


def test_a_claim_needs_every_family() -> None:
    wishes = tuple(
        Wish(family=family, public_ip=ip_address(address))
        for family, address in ((Family.IPV4, "192.0.2.1"), (Family.IPV6, "2001:db8::1"))
    )
    claim = Claim(name="n1", backend="host-gw", wishes=wishes)
    with pytest.raises(ClaimRefused, match="IPv6"):
        plan_claim(claim, record({}, "10.244.1.0/24"), DUAL)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("flannel.alpha.coreos.com", "flannel.alpha.coreos.com/"),
        ("flannel.alpha.coreos.com/", "flannel.alpha.coreos.com/"),
        ("example.com/blue", "example.com/blue-"),
        ("example.com/blue-", "example.com/blue-"),
    ],
)
def test_prefixes(text: str, prefix: str) -> None:
    assert parse_prefix(text) == prefix
    assert parse_prefix(prefix) == prefix


@pytest.mark.parametrize("text", ["", "/x", "a/b/c", "Example.com", "exa mple.com", "é.com"])
def test_prefixes_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_prefix(text)
