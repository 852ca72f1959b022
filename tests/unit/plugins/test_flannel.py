"""What flannel reads, what it delegates with, and what it keeps."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, TRY_AGAIN_LATER, UNAVAILABLE, CniError
from podway.plugins import flannel
from podway.plugins.flannel_calls import FAILED_TO_LOAD, load_subnet_env
from podway.plugins.flannel_conf import parse_flannel_conf, render_delegate
from podway.plugins.flannel_files import Attachment, KeptConf, KeptConfs
from podway.plugins.subnet_env import SubnetEnv, parse_subnet_env
from unit.plugins.plugin_calls import call_of

FOUR = """\
FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""
SIX = """\
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=FD00:244:0:1::1/64
"""
ENV = SubnetEnv(
    networks=("10.244.0.0/16",), subnets=("10.244.1.0/24",), mtu_bytes=1450, ip_masq=True
)


@pytest.mark.parametrize(
    ("text", "networks", "subnets"),
    [
        pytest.param(FOUR, ("10.244.0.0/16",), ("10.244.1.0/24",), id="IPv4"),
        pytest.param(
            FOUR + SIX,
            ("10.244.0.0/16", "fd00:244::/48"),
            ("10.244.1.0/24", "fd00:244:0:1::/64"),
            id="both",
        ),
        pytest.param(
            SIX + "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true",
            ("fd00:244::/48",),
            ("fd00:244:0:1::/64",),
            id="IPv6 alone",
        ),
        pytest.param(
            FOUR.replace("0.0/16", "0.0/16, 10.245.0.0/16") + "\n# a remark\nOTHER",
            ("10.244.0.0/16", "10.245.0.0/16"),
            ("10.244.1.0/24",),
            id="two networks, other lines",
        ),
    ],
)
def test_subnet_env(text: str, networks: tuple[str, ...], subnets: tuple[str, ...]) -> None:
    assert parse_subnet_env(text, "f") == SubnetEnv(
        networks=networks, subnets=subnets, mtu_bytes=1450, ip_masq=True
    )


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        pytest.param("", TRY_AGAIN_LATER, "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK", id="empty"),
        pytest.param("FLANNEL_MTU=1450", TRY_AGAIN_LATER, "FLANNEL_IPMASQ", id="torn"),
        pytest.param(FOUR.replace("FLANNEL_MTU=1450", "FLANNEL_MTU"), TRY_AGAIN_LATER,
                     "FLANNEL_MTU", id="no value"),
        pytest.param(FOUR.replace("1450", "-1"), INVALID_CONFIG, "FLANNEL_MTU", id="mtu"),
        pytest.param(FOUR.replace("1450", "99999999999"), INVALID_CONFIG, "FLANNEL_MTU", id="big"),
        pytest.param(FOUR.replace("/24", "/33"), INVALID_CONFIG, "FLANNEL_SUBNET", id="length"),
        pytest.param(FOUR.replace("/24", ""), INVALID_CONFIG, "FLANNEL_SUBNET", id="no length"),
        pytest.param(FOUR.replace("10.244.1.1/24", "fd00::/64"), INVALID_CONFIG,
                     "FLANNEL_SUBNET", id="other family"),
        pytest.param(FOUR.replace("10.244.0.0", "a"), INVALID_CONFIG, "FLANNEL_NETWORK",
                     id="no address"),
    ],
)  # fmt: skip
def test_subnet_env_refused(text: str, code: int, told: str, tmp_path: Path) -> None:
    path = tmp_path / "subnet.env"
    path.write_text(text)
    with pytest.raises(CniError) as refused:
        load_subnet_env(str(path))
    assert refused.value.code == code
    assert told in refused.value.msg
    assert FAILED_TO_LOAD in refused.value.msg


def test_no_subnet_env(tmp_path: Path) -> None:
    config = {"subnetFile": f"{tmp_path}/subnet.env", "dataDir": f"{tmp_path}/data"}
    with pytest.raises(CniError) as refused:
        flannel.PLUGIN.add(call_of(config))
    assert (refused.value.code, refused.value.msg.startswith(FAILED_TO_LOAD)) == (11, True)
    assert "podCIDR" in refused.value.details
    with pytest.raises(CniError) as refused:
        flannel.PLUGIN.status(call_of(config, "STATUS"))
    assert refused.value.code == UNAVAILABLE
    flannel.PLUGIN.delete(call_of(config, "DEL"))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(CniError):
        env = parse_subnet_env(f"{FOUR}{text}", "f")
        assert (env.networks, env.subnets) != ((), ())


def rendered(config: dict[str, Any], env: SubnetEnv | None = ENV) -> dict[str, Any]:
    request = call_of(config).request
    return render_delegate(request, parse_flannel_conf(request), env)


def test_defaults_of_the_delegate() -> None:
    assert rendered({}) == {
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "bridge",
        "ipMasq": False,
        "isGateway": True,
        "mtu": 1450,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.244.1.0/24"}]],
            "routes": [{"dst": "10.244.0.0/16"}],
        },
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({"delegate": {"ipMasq": True, "mtu": 1400, "isGateway": False}},
                     {"ipMasq": True, "mtu": 1400, "isGateway": False}, id="its own keys stay"),
        pytest.param({"delegate": {"IPMASQ": True}}, {"IPMASQ": True, "ipMasq": None},
                     id="keys match without case"),
        pytest.param({"delegate": {"type": "ptp"}}, {"type": "ptp", "isGateway": None},
                     id="only a bridge has isGateway"),
        pytest.param({"runtimeConfig": {"mac": "0a:00:00:00:00:01"}},
                     {"runtimeConfig": {"mac": "0a:00:00:00:00:01"}}, id="runtimeConfig"),
        pytest.param({"cniVersion": "0.3.1"}, {"cniVersion": "0.3.1"}, id="version"),
    ],
)  # fmt: skip
def test_the_delegates_keys(config: dict[str, Any], expected: dict[str, Any]) -> None:
    document = rendered(config)
    assert {key: document.get(key) for key in expected} == expected


def test_the_delegates_ipam() -> None:
    env = SubnetEnv(
        networks=("10.244.0.0/16", "10.245.0.0/16", "fd00::/48"),
        subnets=("10.244.1.0/24", "fd00:0:0:1::/64"),
        mtu_bytes=1450,
        ip_masq=False,
    )
    ipam = {"type": "mine", "dataDir": "/d", "ranges": [], "routes": [{"dst": "192.0.2.0/24"}]}
    document = rendered({"ipam": ipam}, env)
    assert document["ipMasq"] is True
    assert document["ipam"] == {
        "type": "mine",
        "dataDir": "/d",
        "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:0:0:1::/64"}]],
        "routes": [
            {"dst": "192.0.2.0/24"},
            {"dst": "10.244.0.0/16"},
            {"dst": "10.245.0.0/16"},
            {"dst": "fd00::/48"},
        ],
    }


def test_without_a_subnet_there_is_enough_to_take_away() -> None:
    document = rendered({"ipam": {"dataDir": "/d", "ranges": 1}}, None)
    assert document["ipam"] == {"dataDir": "/d", "type": "host-local"}
    assert document["ipMasq"] is True


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"subnetFile": "relative"}, id="subnetFile"),
        pytest.param({"subnetFile": 1}, id="subnetFile's type"),
        pytest.param({"dataDir": "a\0b"}, id="dataDir"),
        pytest.param({"dataDir": []}, id="dataDir's type"),
        pytest.param({"delegate": "bridge"}, id="delegate's type"),
        pytest.param({"delegate": {"name": "a"}}, id="delegate.name"),
        pytest.param({"delegate": {"Ipam": {}}}, id="delegate.ipam"),
        pytest.param({"delegate": {"type": 1}}, id="delegate.type's type"),
        pytest.param({"delegate": {"type": "../bridge"}}, id="delegate.type leads away"),
        pytest.param({"delegate": {"type": "flannel"}}, id="itself"),
        pytest.param({"ipam": []}, id="ipam's type"),
        pytest.param({"ipam": {"type": 1}}, id="ipam.type's type"),
        pytest.param({"ipam": {"routes": {}}}, id="ipam.routes' type"),
        pytest.param({"ipam": {"routes": [{"dst": "a"}]}}, id="a route"),
    ],
)
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_refused(command: str, config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "subnet.env").write_text(FOUR)
    usual = {
        "subnetFile": f"{tmp_path}/subnet.env",
        "dataDir": str(tmp_path),
        "cni.dev/valid-attachments": [],
    }
    calls = {"ADD": flannel.PLUGIN.add, "DEL": flannel.PLUGIN.delete, "CHECK": flannel.PLUGIN.check,
             "GC": flannel.PLUGIN.gc, "STATUS": flannel.PLUGIN.status}  # fmt: skip
    before = list(tmp_path.iterdir())
    with pytest.raises(CniError) as refused:
        calls[command](call_of({**usual, **config}, command))
    assert refused.value.code in {INVALID_CONFIG, 6}
    assert list(tmp_path.iterdir()) == before


E0 = Attachment(container_id="c1", ifname="eth0")
E1 = Attachment(container_id="c1", ifname="eth1")


def document(network: str = "net", **keys: Any) -> dict[str, Any]:
    return {"type": "bridge", "name": network, **keys}


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_kept_until_forgotten(tmp_path: Path) -> None:
    kept = KeptConfs(f"{tmp_path}/a/b", "net")
    kept.keep(E0, document(mtu=1))
    assert kept.find(E0) == KeptConf(document=document(mtu=1))
    assert names(tmp_path / "a/b") == {"c1", "c1:/eth0"}
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a/b").rglob("*/*")} == {0o600}
    kept.forget(E0)
    assert kept.find(E0) is None
    assert list((tmp_path / "a/b").iterdir()) == []


@pytest.mark.parametrize("first", [E0, E1])
@pytest.mark.parametrize("mtus", [(1, 2), (1, 1)])
def test_two_attachments(mtus: tuple[int, int], first: Attachment, tmp_path: Path) -> None:
    kept = KeptConfs(str(tmp_path), "net")
    documents = {owner: document(mtu=mtu) for owner, mtu in zip((E0, E1), mtus, strict=True)}
    for owner, each in documents.items():
        kept.keep(owner, each)
    assert {owner: kept.find(owner) for owner in documents} == {
        owner: KeptConf(document=each) for owner, each in documents.items()
    }
    kept.forget(first)
    (left,) = documents.keys() - {first}
    assert kept.find(left) == KeptConf(document=documents[left])
    # The original, which looks there, would find it too.
    assert (tmp_path / "c1").read_text() == (tmp_path / f"c1:/{left.ifname}").read_text()
    kept.forget(left)
    assert list(tmp_path.iterdir()) == []


def test_what_the_original_wrote(tmp_path: Path) -> None:
    kept = KeptConfs(str(tmp_path), "net")
    (tmp_path / "c1").write_text('{"type":"bridge","name":"net"}')
    assert kept.find(E0) == KeptConf(document=document())
    assert list(kept.all()) == [Attachment(container_id="c1", ifname="")]
    kept.forget(E0)
    assert list(tmp_path.iterdir()) == []


def test_what_the_original_overwrote(tmp_path: Path) -> None:
    kept = KeptConfs(str(tmp_path), "net")
    kept.keep(E0, document(mtu=1))
    (tmp_path / "c1").write_text('{"type":"bridge","name":"net","mtu":2}')
    assert kept.find(E0) == KeptConf(document=document(mtu=1))
    kept.forget(E0)
    assert kept.find(E1) == KeptConf(document=document(mtu=2))
    kept.forget(E1)
    assert list(tmp_path.iterdir()) == []


def test_what_the_original_wrote_for_another_network(tmp_path: Path) -> None:
    kept = KeptConfs(str(tmp_path), "net")
    (tmp_path / "c1").write_text('{"type":"bridge","name":"other"}')
    assert kept.find(E0) == KeptConf(document=None)
    kept.forget(E0)
    assert names(tmp_path) == {"c1"}
    assert list(kept.all()) == []


def test_another_networks_copy_says_nothing(tmp_path: Path) -> None:
    KeptConfs(str(tmp_path), "other").keep(E0, document("other"))
    kept = KeptConfs(str(tmp_path), "net")
    assert kept.find(E1) is None
    kept.forget(E1)
    assert names(tmp_path) == {"c1", "c1:/eth0"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"type":1,"name":"net"}', "\x00" * 9])
def test_torn_files(content: str, tmp_path: Path) -> None:
    kept = KeptConfs(str(tmp_path), "net")
    kept.keep(E0, document(mtu=1))
    (tmp_path / "c1:/eth0").write_text(content)
    assert kept.find(E0) == KeptConf(document=document(mtu=1))
    (tmp_path / "c1").write_text(content)
    assert kept.find(E0) == KeptConf(document=None)
    kept.forget(E0)
    assert list(tmp_path.iterdir()) == []


def test_forgetting_what_was_never_kept(tmp_path: Path) -> None:
    kept = KeptConfs(f"{tmp_path}/none", "net")
    kept.forget(E0)
    assert kept.find(E0) is None
    assert list(kept.all()) == []
    kept.keep(E0, document())
    kept.forget(E1)
    assert kept.find(E0) == KeptConf(document=document())
