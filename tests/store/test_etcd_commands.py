"""Commands on an etcd: the network, nodes and reservations, as an administrator uses them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.backings import NET
from store.etcd_process import EtcdProcess

PREFIX = "/coreos.com/network"
PEER = '{"PublicIP":"192.0.2.3","PublicIPv6":null,"BackendType":"host-gw"}'


@pytest.fixture
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


def podway(etcd: EtcdProcess, *words: str, code: int = 0, text: str = "") -> dict[str, Any]:
    """Run ``podway words... --json`` on *etcd*; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "podway.cli", *words, "--store", etcd.url(), "--json"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr + done.stdout
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_from_an_empty_etcd_to_reservations(etcd: EtcdProcess, tmp_path: Path) -> None:
    (tmp_path / "net-conf.json").write_text(NET)
    assert "no network" in podway(etcd, "network", "show", code=1)["error"]
    podway(etcd, "network", "apply", str(tmp_path / "net-conf.json"))
    assert etcd.get(f"{PREFIX}/config") == NET
    assert podway(etcd, "network", "show")["network"] == json.loads(NET)
    etcd.put(f"{PREFIX}/subnets/10.9.5.0-24", PEER)
    podway(etcd, "node", "reserve", "n7", "10.9.7.0/24")
    listed = podway(etcd, "node", "list")
    assert [node["node"] for node in listed["nodes"]] == ["10.9.5.0-24"]
    assert {each["node"]: each["subnets"] for each in listed["reservations"]} == {
        "10.9.5.0-24": ["10.9.5.0/24"],
        "n7": ["10.9.7.0/24"],
    }
    podway(etcd, "node", "remove", "10.9.5.0-24")
    podway(etcd, "node", "unreserve", "n7")
    assert list(etcd.keys(f"{PREFIX}/")) == [f"{PREFIX}/config"]


def test_no_etcd_there(etcd: EtcdProcess) -> None:
    etcd.kill()
    port = etcd.endpoint.rpartition(":")[2]
    assert port in podway(etcd, "network", "show", code=1)["error"]
