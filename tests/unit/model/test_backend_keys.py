"""``Backend`` of net-conf.json: each kind's keys, defaults and rules; secrets in no message."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.errors import ConfigError
from podway.model.backend_keys import is_wireguard_key, parse_backend, render_backend
from podway.model.backends import (
    BACKEND_NAMES,
    AllocConfig,
    BackendConfig,
    ExtensionConfig,
    HostGwConfig,
    IpipConfig,
    UdpConfig,
    VxlanConfig,
    WireguardConfig,
)
from podway.model.fields import Fields
from podway.model.networks import parse_network
from podway.model.secret import Secret

PSK = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="


def parse(document: dict[str, Any]) -> BackendConfig:
    return parse_backend(Fields(document, "Backend."))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"Type": "udp"}, UdpConfig(port=8285), id="udp"),
        pytest.param({"Type": "UDP", "Port": 1}, UdpConfig(port=1), id="udp, another port"),
        pytest.param({"Type": "udp", "Port": 0}, UdpConfig(port=8285), id="udp, port 0: flannel's"),
        pytest.param({"Type": "ipip"}, IpipConfig(), id="ipip"),
        pytest.param(
            {"Type": "ipip", "DirectRouting": True, "MTU": 1400},
            IpipConfig(direct_routing=True, mtu=1400),
            id="ipip, everything",
        ),
        pytest.param({"Type": "wireguard"}, WireguardConfig(), id="wireguard"),
        pytest.param(
            {
                "Type": "WireGuard",
                "psk": PSK,
                "listenport": 1,
                "ListenPortV6": 2,
                "MTU": 1400,
                "Mode": "auto",
                "PersistentKeepaliveInterval": 25,
            },
            WireguardConfig(
                psk=Secret(PSK),
                listen_port=1,
                listen_port_v6=2,
                mtu=1400,
                mode="auto",
                keepalive_s=25,
            ),
            id="wireguard, everything",
        ),
        pytest.param({"Type": "wireguard", "Mode": ""}, WireguardConfig(), id="Mode empty"),
        pytest.param(
            {"Type": "wireguard", "Mode": "ipv4", "ListenPort": 7, "ListenPortV6": 7},
            WireguardConfig(mode="ipv4", listen_port=7, listen_port_v6=7),
            id="one device may have one port",
        ),
        pytest.param({"Type": "extension"}, ExtensionConfig(), id="extension"),
        pytest.param(
            {
                "Type": "extension",
                "PreStartupCommand": "cat /etc/key",
                "PostStartupCommand": "ip link add 'name with space' \"$SUBNET\"",
                "SubnetAddCommand": ["add", "a b", "&&", ""],
                "SubnetRemoveCommand": "",
                "ShutdownCommand": None,
            },
            ExtensionConfig(
                pre_startup=("cat", "/etc/key"),
                post_startup=("ip", "link", "add", "name with space", "$SUBNET"),
                subnet_add=("add", "a b", "&&", ""),
            ),
            id="extension, everything",
        ),
        pytest.param({"Type": "alloc"}, AllocConfig(), id="alloc"),
        pytest.param(
            {"Type": "vxlan", "TxChecksumOffload": False},
            VxlanConfig(checksum_offload=False),
            id="vxlan without offload",
        ),
    ],
)
def test_values(document: dict[str, Any], expected: BackendConfig) -> None:
    assert parse(document) == expected


COMMAND = "must be a command line without a shell's operators, or a list of arguments"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        pytest.param({"Type": "udp", "Port": 65536}, "Port", id="port too great"),
        pytest.param({"Type": "ipip", "DirectRouting": 1}, "DirectRouting", id="no flag"),
        pytest.param({"Type": "ipip", "MTU": 575}, "MTU", id="MTU too small"),
        pytest.param({"Type": "wireguard", "Mode": "both"}, "Mode", id="mode unknown"),
        pytest.param({"Type": "wireguard", "ListenPort": 51821}, "ListenPortV6", id="one port"),
        pytest.param({"Type": "wireguard", "PSK": "hunter2"}, "PSK", id="no key"),
        pytest.param({"Type": "wireguard", "PSK": PSK[:-1]}, "PSK", id="key cut off"),
        pytest.param({"Type": "wireguard", "PSK": [PSK]}, "PSK", id="no text"),
        pytest.param(
            {"Type": "wireguard", "PersistentKeepaliveInterval": "25s"},
            "PersistentKeepaliveInterval",
            id="keepalive no number",
        ),
        pytest.param({"Type": "extension", "SubnetAddCommand": 1}, "SubnetAddCommand", id="number"),
        pytest.param({"Type": "extension", "SubnetAddCommand": 0}, "SubnetAddCommand", id="zero"),
        pytest.param({"Type": "extension", "ShutdownCommand": False}, "ShutdownCommand", id="flag"),
        pytest.param({"Type": "extension", "ShutdownCommand": {}}, "ShutdownCommand", id="object"),
        pytest.param(
            {"Type": "extension", "SubnetAddCommand": ["a", 1]}, "SubnetAddCommand", id="mixed list"
        ),
        pytest.param(
            {"Type": "extension", "PreStartupCommand": "a 'b"}, "PreStartupCommand", id="open quote"
        ),
        pytest.param(
            {"Type": "extension", "PreStartupCommand": "export A=1; a && b"},
            "PreStartupCommand",
            id="a line for a shell",
        ),
        pytest.param(
            {"Type": "extension", "ShutdownCommand": [""]}, "ShutdownCommand", id="no program"
        ),
        pytest.param(
            {"Type": "extension", "ShutdownCommand": "a \0"}, "ShutdownCommand", id="a NUL"
        ),
    ],
)
def test_wrong_values(document: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(document)
    assert caught.value.field == f"Backend.{field}"


@pytest.mark.parametrize("psk", ["hunter2", PSK[:-1], ["hunter2"], PSK + "\n"])
def test_a_wrong_secret_is_not_repeated(psk: object) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"Type": "wireguard", "PSK": psk})
    assert "hunter2" not in str(caught.value)
    assert PSK[:8] not in str(caught.value)


ports = st.integers(1, 65535)
mtus = st.one_of(st.just(0), st.integers(576, 65535))
commands = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
configs = st.one_of(
    st.builds(
        VxlanConfig,
        vni=st.integers(1, (1 << 24) - 1),
        port=ports,
        mtu=mtus,
        gbp=st.booleans(),
        learning=st.booleans(),
        direct_routing=st.booleans(),
        checksum_offload=st.sampled_from((None, True, False)),
    ),
    st.just(HostGwConfig()),
    st.builds(UdpConfig, port=ports, mtu=mtus),
    st.builds(IpipConfig, direct_routing=st.booleans(), mtu=mtus),
    st.builds(
        WireguardConfig,
        psk=st.sampled_from((Secret(""), Secret(PSK))),
        listen_port=st.integers(1, 1000),
        listen_port_v6=st.integers(1001, 65535),
        mtu=mtus,
        mode=st.sampled_from(("separate", "auto", "ipv4", "ipv6")),
        keepalive_s=st.integers(0, 65535),
    ),
    st.builds(
        ExtensionConfig,
        pre_startup=commands.map(tuple),
        post_startup=commands.map(tuple),
        subnet_add=commands.map(tuple),
        subnet_remove=commands.map(tuple),
        shutdown=commands.map(tuple),
    ),
    st.just(AllocConfig()),
)


@given(configs)
def test_what_is_rendered_is_read_as_the_same(config: BackendConfig) -> None:
    document = json.loads(json.dumps(render_backend(config)))
    assert parse(document) == config
    assert document["Type"] in BACKEND_NAMES


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_every_kind_is_read(name: str) -> None:
    assert parse({"Type": name}).__struct_config__.tag == name


@pytest.mark.parametrize(
    "key", ["", "x", PSK + "=", PSK.replace("=", ""), "é" * 44, PSK[:-2] + "B="]
)
def test_what_is_no_key(key: str) -> None:
    assert is_wireguard_key(key) is (key == PSK)


def test_ipip_carries_ipv4_alone() -> None:
    document = {"Network": "10.0.0.0/8", "Backend": {"Type": "ipip"}}
    assert parse_network(json.dumps(document)).backend == IpipConfig()
    dual = {**document, "EnableIPv6": True, "IPv6Network": "fd00::/48"}
    with pytest.raises(ConfigError) as caught:
        parse_network(json.dumps(dual))
    assert caught.value.field == "EnableIPv6"
