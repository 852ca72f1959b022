"""What the podway plugin reads in its configuration, and what a runtime may ask for."""

import json

import pytest

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.cni.podway_conf import PodwayConf, RequestedIp, parse_podway_conf
from podway.cni.requests import Request, parse_request

DEFAULTS = PodwayConf(
    attach=None, mtu_bytes=None, agent_socket="/run/podway/cni.sock", ips=(), mac=""
)


def request(keys: dict[str, object], args: str = "") -> Request:
    """Return an ADD with *keys* in its configuration and *args* in CNI_ARGS."""
    variables = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c",
        "CNI_NETNS": "/n",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": args,
    }
    config = {"cniVersion": "1.0.0", "name": "podway", "type": "podway", **keys}
    return parse_request(variables, json.dumps(config).encode())


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"attach": None, "mtu": None, "agentSocket": None}, id="null"),
        pytest.param({"mtu": 0}, id="mtu 0"),
        pytest.param({"capabilities": {"ips": True}, "dns": {}, "other": [1]}, id="other keys"),
        pytest.param({"runtimeConfig": {"ips": [], "mac": ""}, "args": {"cni": {}}}, id="empty"),
    ],
)
def test_defaults(keys: dict[str, object]) -> None:
    assert parse_podway_conf(request(keys)) == DEFAULTS


def test_every_key() -> None:
    conf = parse_podway_conf(
        request({"attach": "routed", "mtu": 1400, "agentSocket": "/run/a.sock"})
    )
    assert (conf.attach, conf.mtu_bytes, conf.agent_socket) == ("routed", 1400, "/run/a.sock")
    assert parse_podway_conf(request({"Attach": "bridge", "MTU": 68})).attach == "bridge"


V4, V6 = RequestedIp(address="10.0.0.5"), RequestedIp(address="fd00::5")


@pytest.mark.parametrize(
    ("args", "keys", "ips"),
    [
        pytest.param("", {"runtimeConfig": {"ips": ["10.0.0.5"]}}, (V4,), id="runtimeConfig"),
        pytest.param("", {"args": {"cni": {"ips": ["FD00:0::5"]}}}, (V6,), id="args.cni"),
        pytest.param("IP=10.0.0.5", {}, (V4,), id="CNI_ARGS"),
        pytest.param("IP=10.0.0.5,fd00::5", {}, (V4, V6), id="two in CNI_ARGS"),
        pytest.param("IP=", {}, (), id="empty CNI_ARGS"),
        pytest.param(
            "",
            {"runtimeConfig": {"ips": ["10.0.0.5/24", "fd00::5/64"]}},
            (
                RequestedIp(address="10.0.0.5", prefix_bits=24),
                RequestedIp(address="fd00::5", prefix_bits=64),
            ),
            id="prefix lengths",
        ),
        pytest.param(
            "IP=10.0.0.7",
            {"runtimeConfig": {"ips": ["10.0.0.5"]}, "args": {"cni": {"ips": ["10.0.0.6"]}}},
            (V4,),
            id="runtimeConfig counts most",
        ),
        pytest.param(
            "IP=10.0.0.7", {"args": {"cni": {"ips": ["10.0.0.5"]}}}, (V4,), id="then args.cni"
        ),
    ],
)
def test_requested_addresses(
    args: str, keys: dict[str, object], ips: tuple[RequestedIp, ...]
) -> None:
    assert parse_podway_conf(request(keys, args)).ips == ips


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        pytest.param("", {"runtimeConfig": {"mac": "02:00:00:00:00:0A"}}, id="runtimeConfig"),
        pytest.param("", {"args": {"cni": {"mac": "02:00:00:00:00:0a"}}}, id="args.cni"),
        pytest.param("MAC=02:00:00:00:00:0a", {}, id="CNI_ARGS"),
        pytest.param(
            "MAC=02:00:00:00:00:0c",
            {
                "runtimeConfig": {"mac": "02:00:00:00:00:0a"},
                "args": {"cni": {"mac": "02:00:00:00:00:0b"}},
            },
            id="runtimeConfig counts most",
        ),
    ],
)
def test_requested_mac(args: str, keys: dict[str, object]) -> None:
    assert parse_podway_conf(request(keys, args)).mac == "02:00:00:00:00:0a"


@pytest.mark.parametrize(
    ("args", "keys", "field"),
    [
        pytest.param("", {"attach": "vlan"}, "attach = 'vlan'", id="attach"),
        pytest.param("", {"attach": ""}, "attach = ''", id="empty attach"),
        pytest.param("", {"attach": "Bridge"}, "attach = 'Bridge'", id="attach's case"),
        pytest.param("", {"attach": 1}, "attach = 1", id="attach's type"),
        pytest.param("", {"mtu": 67}, "mtu = 67", id="small mtu"),
        pytest.param("", {"mtu": 65536}, "mtu = 65536", id="large mtu"),
        pytest.param("", {"mtu": -1}, "mtu = -1", id="negative mtu"),
        pytest.param("", {"mtu": "1400"}, "mtu = '1400'", id="mtu's type"),
        pytest.param("", {"mtu": 1400.5}, "mtu = 1400.5", id="broken mtu"),
        pytest.param("", {"mtu": True}, "mtu = True", id="mtu true"),
        pytest.param("", {"agentSocket": "a.sock"}, "agentSocket = 'a.sock'", id="relative socket"),
        pytest.param("", {"agentSocket": ""}, "agentSocket = ''", id="empty socket"),
        pytest.param("", {"agentSocket": 1}, "agentSocket = 1", id="socket's type"),
        pytest.param("", {"agentSocket": "/a\0b"}, "agentSocket = ", id="zero byte in the socket"),
        pytest.param("", {"agentSocket": "/" + "a" * 107}, "agentSocket = ", id="108 bytes"),
        pytest.param(
            "", {"runtimeConfig": {"ips": "10.0.0.1"}}, "runtimeConfig.ips", id="ips' type"
        ),
        pytest.param(
            "", {"runtimeConfig": {"ips": [1]}}, "runtimeConfig.ips[0] = 1", id="ip's type"
        ),
        pytest.param(
            "", {"runtimeConfig": {"ips": ["x"]}}, "runtimeConfig ips = 'x'", id="no address"
        ),
        pytest.param(
            "", {"runtimeConfig": {"ips": ["10.0.0.1/33"]}}, "runtimeConfig ips", id="prefix length"
        ),
        pytest.param("", {"args": {"cni": {"ips": ["0.0.0.0"]}}}, "args.cni ips", id="unspecified"),
        pytest.param("", {"args": {"cni": {"ips": ["127.0.0.1"]}}}, "args.cni ips", id="loopback"),
        pytest.param("", {"args": {"cni": {"ips": ["224.0.0.1"]}}}, "args.cni ips", id="multicast"),
        pytest.param(
            "", {"args": {"cni": {"ips": ["169.254.0.1"]}}}, "args.cni ips", id="link-local"
        ),
        pytest.param("", {"args": {"cni": {"ips": ["::1"]}}}, "args.cni ips", id="IPv6 loopback"),
        pytest.param("", {"args": {"cni": {"ips": ["::"]}}}, "args.cni ips", id="IPv6 unspecified"),
        pytest.param(
            "", {"args": {"cni": {"ips": ["ff02::1"]}}}, "args.cni ips", id="IPv6 multicast"
        ),
        pytest.param(
            "", {"args": {"cni": {"ips": ["fe80::1"]}}}, "args.cni ips", id="IPv6 link-local"
        ),
        pytest.param(
            "", {"args": {"cni": {"ips": ["::ffff:10.0.0.1"]}}}, "args.cni ips", id="mapped"
        ),
        pytest.param(
            "",
            {"args": {"cni": {"ips": ["10.0.0.1", "10.0.0.2"]}}},
            "one address a family",
            id="two",
        ),
        pytest.param("", {"runtimeConfig": {"mac": "x"}}, "runtimeConfig mac = 'x'", id="no MAC"),
        pytest.param("", {"runtimeConfig": {"mac": 1}}, "runtimeConfig.mac = 1", id="MAC's type"),
        pytest.param(
            "", {"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}, "unicast", id="multicast MAC"
        ),
        pytest.param("", {"runtimeConfig": {"mac": "00:00:00:00:00:00"}}, "unicast", id="zero MAC"),
    ],
)
def test_configuration_rules(args: str, keys: dict[str, object], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_podway_conf(request(keys, args))
    assert caught.value.code == INVALID_CONFIG
    assert field in caught.value.msg


@pytest.mark.parametrize(
    "args",
    [
        pytest.param("IP=x", id="address"),
        pytest.param("IP=10.0.0.1,10.0.0.2", id="two of a family"),
        pytest.param("IP=10.0.0.1,", id="comma last"),
        pytest.param("MAC=x", id="MAC"),
        pytest.param("GATEWAY=10.0.0.1", id="unknown key"),
        pytest.param("IgnoreUnknown=maybe", id="IgnoreUnknown"),
    ],
)
def test_argument_rules(args: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_podway_conf(request({}, args))
    assert caught.value.code == INVALID_ENVIRONMENT
    assert "CNI_ARGS" in caught.value.msg
