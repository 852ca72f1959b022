"""The configuration of ``tuning``: keys of kernel parameters above all."""

from pathlib import Path
from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.netlink.constants import IFF_ALLMULTI, IFF_PROMISC, IFF_UP
from podway.plugins import tuning_sysctls
from podway.plugins.tuning_add import compute_change
from podway.plugins.tuning_backups import Backup, compute_backup, compute_restoration
from podway.plugins.tuning_conf import TuningConf, parse_conf
from podway.plugins.tuning_sysctls import check_allowed, parse_sysctl
from unit.plugins.plugin_calls import call_of


def conf_of(cni_args: str = "", /, **config: Any) -> TuningConf:
    return parse_conf(call_of(config, CNI_ARGS=cni_args).request)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        pytest.param("net.ipv4.ip_forward", "net/ipv4/ip_forward", id="dots"),
        pytest.param("net/ipv4/ip_forward", "net/ipv4/ip_forward", id="slashes"),
        pytest.param("net.ipv4.conf.e0/100.rp_filter", "net/ipv4/conf/e0.100/rp_filter", id="both"),
        pytest.param("net/ipv4/conf/e0.100/rp_filter", "net/ipv4/conf/e0.100/rp_filter", id="vlan"),
        pytest.param("net.ipv6.conf.IFNAME.mtu", "net/ipv6/conf/eth0.5/mtu", id="placeholder"),
        pytest.param("net/ipv6/conf/IFNAME/mtu", "net/ipv6/conf/eth0.5/mtu", id="with slashes"),
        pytest.param("net.core.IFNAMEs", "net/core/IFNAMEs", id="part of a word"),
    ],
)
def test_keys_lead_to_paths(key: str, path: str) -> None:
    assert parse_sysctl(key, "1", "eth0.5", "sysctl").path == path


@pytest.mark.parametrize(
    "key",
    [
        "",
        "net",
        "net.",
        ".net.core",
        "kernel.hostname",
        "vm/swappiness",
        "net/../kernel/hostname",
        "net/ipv4/../../kernel/hostname",
        "net/./core",
        "net//core",
        "net..core",
        "/net/core/somaxconn",
        "/proc/sys/net/core/somaxconn",
        "../proc/sys/net/core/x",
        "net.core.\0",
        "net.ipv4.//.x",
        "net.ipv4./.x",
        "NET.core.x",
        "network.core.x",
    ],
)
def test_keys_that_lead_elsewhere_are_refused(key: str) -> None:
    with pytest.raises(CniError) as caught:
        conf_of(sysctl={key: "1"})
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"sysctl": ["net.a.b"]}, "sysctl", id="a list"),
        pytest.param({"sysctl": {"net.a.b": 1}}, "sysctl.net.a.b", id="a number"),
        pytest.param({"sysctl": {"net.a.b": "\0"}}, "sysctl['net.a.b']", id="a zero byte"),
        pytest.param({"sysctl": {"net.a.b": "1", "net/a/b": "2"}}, "sysctl", id="twice"),
        pytest.param({"args": {"cni": {"sysctl": 1}}}, "args.cni.sysctl", id="by the runtime"),
        pytest.param({"mac": "x"}, "mac", id="no address"),
        pytest.param({"mac": "01:00:00:00:00:00"}, "mac", id="of a group"),
        pytest.param({"runtimeConfig": {"mac": 7}}, "runtimeConfig.mac", id="number as address"),
        pytest.param({"mtu": 67}, "mtu", id="too small"),
        pytest.param({"mtu": "1500"}, "mtu", id="text as size"),
        pytest.param({"args": {"cni": {"mtu": 99999}}}, "args.cni.mtu", id="too large"),
        pytest.param({"promisc": "yes"}, "promisc", id="text as switch"),
        pytest.param({"allmulti": 1}, "allmulti", id="number as switch"),
        pytest.param({"txQLen": -1}, "txQLen", id="negative"),
        pytest.param({"txQLen": 2**32}, "txQLen", id="over 32 bits"),
        pytest.param({"dataDir": "tuning"}, "dataDir", id="relative"),
        pytest.param({"dataDir": "/a\0"}, "dataDir", id="zero byte in a path"),
    ],
)
def test_refusals(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        conf_of(**config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


def test_cni_args() -> None:
    for args in ("MAC=x", "X=1"):
        with pytest.raises(CniError) as caught:
            conf_of(args)
        assert caught.value.code == INVALID_ENVIRONMENT
    assert conf_of("X=1;IgnoreUnknown=1;MAC=0A:00:00:00:00:01").mac == "0a:00:00:00:00:01"


def test_orders_of_the_runtime_count_before_the_configuration() -> None:
    conf = conf_of(
        promisc=True,
        mtu=1400,
        allmulti=True,
        txQLen=9,
        sysctl={"net.a.b": "1", "net.a.c": "1"},
        args={"cni": {"promisc": False, "txQLen": 0, "sysctl": {"net/a/b": "2"}}},
    )
    assert (conf.promisc, conf.mtu_bytes, conf.allmulti, conf.txqlen) == (False, 1400, True, 0)
    assert [(each.path, each.value) for each in conf.sysctls] == [
        ("net/a/b", "2"),
        ("net/a/c", "1"),
    ]


def test_nothing_configured_changes_nothing() -> None:
    conf = conf_of()
    assert not conf.changes_link
    assert conf.data_dir == "/run/cni/tuning"
    assert compute_change(conf) == {"flags": 0, "change": 0}


def test_what_changes_is_noted_and_given_back() -> None:
    conf = conf_of(mac="02:00:00:00:00:01", mtu=1400, allmulti=False, txQLen=5)
    flags = IFF_UP | IFF_ALLMULTI | IFF_PROMISC
    backup = compute_backup(
        conf, {"address": "02:00:00:00:00:09", "mtu": 1500, "flags": flags, "txqlen": 1000}
    )
    assert backup == Backup(mac="02:00:00:00:00:09", mtu_bytes=1500, allmulti=True, txqlen=1000)
    assert compute_restoration(backup, 3) == [
        {"mtu": 1500, "index": 3},
        {"address": "02:00:00:00:00:09", "index": 3},
        {"flags": IFF_ALLMULTI, "change": IFF_ALLMULTI, "index": 3},
        {"txqlen": 1000, "index": 3},
    ]
    assert compute_change(conf) == {
        "address": "02:00:00:00:00:01",
        "mtu": 1400,
        "txqlen": 5,
        "flags": 0,
        "change": IFF_ALLMULTI,
    }


@pytest.mark.parametrize(
    ("lines", "is_allowed"),
    [
        pytest.param(None, True, id="no list"),
        pytest.param("", False, id="an empty list"),
        pytest.param("^net.ipv4.conf.IFNAME.[a-z_]*$\n", True, id="as written, before IFNAME"),
        pytest.param("\n  net.core  \n arp_\n", True, id="anywhere in the key"),
        pytest.param("^net.ipv6", False, id="another one"),
        pytest.param("^net.ipv6\n(", False, id="no regular expression"),
    ],
)
def test_the_list_of_what_is_allowed(
    *, lines: str | None, is_allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "allowlist.conf"
    if lines is not None:
        path.write_text(lines)
    monkeypatch.setattr(tuning_sysctls, "ALLOW_LIST", str(path))
    sysctl = parse_sysctl("net.ipv4.conf.IFNAME.arp_filter", "1", "eth0", "sysctl")
    if is_allowed:
        check_allowed([sysctl])
        return
    with pytest.raises(CniError) as caught:
        check_allowed([sysctl])
    assert caught.value.code == INVALID_CONFIG
