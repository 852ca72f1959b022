"""Reservations on disk: the files, the index beside them, and everything that may be torn."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    NO_ADDRESS,
    UNAVAILABLE,
    CniError,
)
from podway.cni.results import Result, result_document
from podway.plugins import host_local
from podway.plugins.host_local_files import Reservations
from podway.plugins.host_local_index import INDEX, Owner, parse_owner
from unit.plugins.plugin_calls import call_of

REFERENCE = Path("/usr/lib/cni/host-local")
needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(), reason="needs containernetworking-plugins"
)
SMALL = {"subnet": "10.1.0.0/29"}  # 10.1.0.2 to 10.1.0.6


class Node:
    """Calls the plugin for one network."""

    def __init__(self, directory: Path, *subnets: dict[str, Any]) -> None:
        self.data = directory / "data"
        self.files = self.data / "net"
        ranges = [[subnet] for subnet in subnets or (SMALL,)]
        self.config: dict[str, Any] = {"ipam": {"dataDir": str(self.data), "ranges": ranges}}

    def add(self, container: str = "c1", ifname: str = "eth0", **keys: Any) -> list[str]:
        call = call_of({**self.config, **keys}, CNI_CONTAINERID=container, CNI_IFNAME=ifname)
        return [ip.address for ip in host_local.PLUGIN.add(call).ips]

    def delete(self, container: str = "c1", ifname: str = "eth0") -> None:
        host_local.PLUGIN.delete(
            call_of(self.config, "DEL", CNI_CONTAINERID=container, CNI_IFNAME=ifname)
        )

    def gc(self, *valid: tuple[str, str]) -> None:
        attachments = [{"containerID": container, "ifname": name} for container, name in valid]
        host_local.PLUGIN.gc(
            call_of({**self.config, "cni.dev/valid-attachments": attachments}, "GC")
        )

    def status(self) -> None:
        host_local.PLUGIN.status(call_of(self.config, "STATUS"))

    def check(self, result: Result, container: str = "c1") -> None:
        previous = result_document(result, "1.1.0")
        call = call_of({**self.config, "prevResult": previous}, "CHECK", CNI_CONTAINERID=container)
        host_local.PLUGIN.check(call)

    def reference(self, command: str, container: str) -> list[str]:
        config = {"cniVersion": "1.0.0", "name": "net", "type": "host-local", **self.config}
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": "/x",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/x",
        }
        done = subprocess.run(
            [REFERENCE],
            input=json.dumps({**config, "ipam": {**self.config["ipam"], "type": "host-local"}}),
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return [ip["address"] for ip in json.loads(done.stdout)["ips"]] if done.stdout else []

    def reserved(self) -> dict[str, str]:
        return {
            path.name: path.read_bytes().decode()
            for path in self.files.iterdir()
            if path.name[0].isdigit() or ":" in path.name
        }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node with one small pool."""
    return Node(tmp_path)


def test_files_are_the_originals(tmp_path: Path) -> None:
    node = Node(tmp_path, SMALL, {"subnet": "fd00::/64"})
    assert node.add() == ["10.1.0.2/29", "fd00::2/64"]
    assert node.reserved() == {"10.1.0.2": "c1\r\neth0", "fd00::2": "c1\r\neth0"}
    assert (node.files / "last_reserved_ip.0").read_bytes() == b"10.1.0.2"
    assert (node.files / "last_reserved_ip.1").read_bytes() == b"fd00::2"
    assert (node.files / "lock").read_bytes() == b""
    node.delete()
    node.delete()
    assert node.reserved() == {}


def test_addresses_rest_before_they_are_given_again(node: Node) -> None:
    given_so_far = []
    for number in range(7):
        given_so_far += node.add(f"c{number}")
        node.delete(f"c{number}")
    assert [each[7] for each in given_so_far] == ["2", "3", "4", "5", "6", "2", "3"]


def test_all_or_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path, SMALL, {"subnet": "fd00::/126"})
    node.add("c1")
    node.add("c2")
    with pytest.raises(CniError) as caught:
        node.add("c3")
    assert caught.value.code == NO_ADDRESS
    assert set(node.reserved()) == {"10.1.0.2", "10.1.0.3", "fd00::2", "fd00::3"}
    with pytest.raises(CniError) as caught:
        node.status()
    assert caught.value.code == UNAVAILABLE
    node.delete("c1")
    node.status()
    assert node.add("c3")[1] == "fd00::2/126"


def test_a_second_add_is_refused(node: Node) -> None:
    node.add()
    node.add(ifname="net1")
    asked: list[dict[str, Any]] = [{}, {"runtimeConfig": {"ips": ["10.1.0.6"]}}]
    for keys in asked:
        with pytest.raises(CniError) as caught:
            node.add(**keys)
        assert caught.value.code == INVALID_CONFIG
    assert set(node.reserved()) == {"10.1.0.2", "10.1.0.3"}


def test_requested_addresses(node: Node) -> None:
    assert node.add("c1", runtimeConfig={"ips": ["10.1.0.5/29"]}) == ["10.1.0.5/29"]
    for ips, code in (
        (["10.1.0.5"], NO_ADDRESS),
        (["10.1.0.1"], INVALID_CONFIG),
        (["10.1.0.7"], INVALID_CONFIG),
        (["192.0.2.1"], INVALID_CONFIG),
        (["10.1.0.3", "10.1.0.4"], INVALID_CONFIG),
        (["10.1.0.3", "fd00::1"], INVALID_CONFIG),
    ):
        with pytest.raises(CniError) as caught:
            node.add("c2", runtimeConfig={"ips": ips})
        assert caught.value.code == code, ips
    assert set(node.reserved()) == {"10.1.0.5"}
    assert node.add("c2", runtimeConfig={"ips": ["10.1.0.6", "10.1.0.6"]}) == ["10.1.0.6/29"]


@pytest.mark.parametrize("content", [b"", b"\r\n", b"  ", b"\0" * 12], ids=repr)
def test_torn_files_are_taken_over_and_collected(content: bytes, node: Node) -> None:
    node.add("c1")
    (node.files / "10.1.0.3").write_bytes(content)
    (node.files / "10.1.0.4").write_bytes(content)
    node.status()
    assert node.add("c2") == ["10.1.0.3/29"]
    assert node.reserved()["10.1.0.3"] == "c2\r\neth0"
    node.gc(("c1", "eth0"), ("c2", "eth0"))
    assert set(node.reserved()) == {"10.1.0.2", "10.1.0.3"}


def test_files_of_old_versions_name_no_interface(node: Node) -> None:
    node.files.mkdir(parents=True)
    (node.files / "10.1.0.4").write_bytes(b"c1")
    (node.files / "10.1.0.5").write_bytes(b"c2\n")
    with pytest.raises(CniError):
        node.add("c1")
    node.gc(("c1", "eth0"))
    assert set(node.reserved()) == {"10.1.0.4"}
    node.delete("c1", "eth7")
    assert node.reserved() == {}


def test_gc_without_anything(node: Node) -> None:
    node.gc()
    node.delete()
    node.status()
    assert not node.data.exists(), "only ADD makes directories"


def test_check(node: Node) -> None:
    result = host_local.PLUGIN.add(call_of(node.config))
    node.check(result)
    with pytest.raises(CniError) as caught:
        node.check(result, "c2")
    assert caught.value.code == CHECK_FAILED
    (node.files / "10.1.0.2").unlink()
    (node.files / "10.1.0.3").write_bytes(b"c1\r\neth0")
    with pytest.raises(CniError) as caught:
        node.check(result)
    assert caught.value.code == CHECK_FAILED


def test_dns_of_a_file(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n", encoding="utf-8")
    node.config["ipam"]["resolvConf"] = str(path)
    assert host_local.PLUGIN.add(call_of(node.config)).dns.nameservers == ("192.0.2.1",)
    path.unlink()
    with pytest.raises(CniError) as caught:
        node.add("c2")
    assert caught.value.code == INVALID_CONFIG
    assert set(node.reserved()) == {"10.1.0.2"}
    node.delete("c1")
    assert node.reserved() == {}, "DEL needs no such file"


@needs_reference
def test_a_node_changes_to_and_fro(tmp_path: Path) -> None:
    node = Node(tmp_path, {"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"})
    assert node.reference("ADD", "r1") == ["10.1.0.2/24", "fd00::2/64"]
    assert node.add("p1") == ["10.1.0.3/24", "fd00::3/64"]
    assert node.reference("ADD", "r2") == ["10.1.0.4/24", "fd00::4/64"]
    assert node.add("p2") == ["10.1.0.5/24", "fd00::5/64"]
    node.delete("r1")
    node.reference("DEL", "p1")
    with pytest.raises(CniError):
        node.add("r2")
    assert set(node.reserved()) == {"10.1.0.4", "fd00::4", "10.1.0.5", "fd00::5"}
    node.delete("r2")
    node.reference("DEL", "p2")
    assert node.reserved() == {}


def index_of(directory: Path) -> dict[str, Owner]:
    """Return what the index says, if it is valid; else what it is made anew from."""
    with Reservations(str(directory), may_make=False) as reservations:
        return {each: owner for each, owner in reservations.owners().items() if owner is not None}


actions = st.tuples(
    st.sampled_from(["add", "delete", "steal", "unlink", "gc", "spoil", "remove index"]),
    st.integers(0, 4),
)


@settings(max_examples=60)
@given(st.lists(actions, max_size=25))
def test_the_index_is_never_wrong(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    """Whatever others do to the files between calls: addresses are found by their owner."""
    node = Node(tmp_path_factory.mktemp("node"), {"subnet": "10.1.0.0/27"})
    node.files.mkdir(parents=True)
    for action, number in steps:
        container = f"c{number}"
        path = node.files / f"10.1.0.{number + 2}"
        owned = {address: owner.container_id for address, owner in index_of(node.files).items()}
        if action == "add":
            if container in owned.values():
                with pytest.raises(CniError):
                    node.add(container)
            else:
                node.add(container)
                assert container in {o.container_id for o in index_of(node.files).values()}
        elif action == "delete":
            node.delete(container)
            assert container not in {o.container_id for o in index_of(node.files).values()}
        elif action == "steal" and not path.exists():
            path.write_bytes(f"{container}\r\neth0".encode())
        elif action == "unlink":
            path.unlink(missing_ok=True)
        elif action == "gc":
            node.gc((container, "eth0"))
            assert {o.container_id for o in index_of(node.files).values()} <= {container}
        elif action == "spoil" and (node.files / INDEX).exists():
            os.truncate(node.files / INDEX, (node.files / INDEX).stat().st_size // 2)
        elif action == "remove index":
            (node.files / INDEX).unlink(missing_ok=True)


def test_many_at_once(tmp_path: Path) -> None:
    node = Node(tmp_path, {"subnet": "10.1.0.0/24"})
    with ThreadPoolExecutor(8) as threads:
        addresses = list(threads.map(lambda n: node.add(f"c{n}")[0], range(40)))
        assert len(set(addresses)) == 40
        list(threads.map(lambda n: node.delete(f"c{n}"), range(0, 40, 2)))
    assert len(node.reserved()) == 20


@pytest.mark.parametrize(
    ("content", "owner"),
    [
        pytest.param(b"c1\r\neth0", Owner(container_id="c1", ifname="eth0"), id="usual"),
        pytest.param(
            b"c1\neth0\n", Owner(container_id="c1", ifname="eth0"), id="another line feed"
        ),
        pytest.param(b" c1 ", Owner(container_id="c1", ifname=""), id="old"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"\xff\xfe", Owner(container_id="\ufffd\ufffd", ifname=""), id="no UTF-8"),
    ],
)
def test_parse_owner(content: bytes, owner: Owner | None) -> None:
    assert parse_owner(content) == owner


def test_a_full_index_file_system_does_not_stop_a_del(node: Node) -> None:
    """An index that cannot be written is stale, no more."""
    node.add()
    (node.files / INDEX).unlink()
    (node.files / INDEX).mkdir()
    node.delete()
    assert node.reserved() == {}
    assert node.add("c2") == ["10.1.0.3/29"]
