"""Leases on disk: written, read again, and what is of no use there."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from podway.dhcp.interfaces import Place
from podway.dhcp.lease_files import Key, LeaseFiles, Record
from podway.dhcp.leases import Lease
from unit.dhcp.servers import ADDRESS, SERVER, SERVER_MAC, usual

BOOT = "b1"
LEASE = Lease(
    address=ADDRESS,
    prefix_bits=24,
    server=SERVER,
    server_mac=SERVER_MAC,
    options=usual(),
    renewal_s=1.5,
    rebinding_s=2.5,
    expiry_s=3.5,
)
RECORD = Record(
    key=Key("net", "c1", "eth0"),
    place=Place("/run/netns/c1", (4, 4026532000), "eth0"),
    client_id=b"\0c1/net/eth0",
    requested=(3, 1),
    provided={12: b"pod"},
    lease=LEASE,
)


@pytest.fixture
def files(tmp_path: Path) -> LeaseFiles:
    return LeaseFiles(tmp_path / "a" / "b", BOOT)


def test_written_read_removed(files: LeaseFiles, tmp_path: Path) -> None:
    for_ever = replace(LEASE, renewal_s=inf, rebinding_s=inf, expiry_s=inf)
    other = replace(RECORD, key=Key("net", "c2", "eth0"), lease=for_ever)
    for record in (RECORD, other):
        files.write(replace(record, requested=()))
        files.write(record)
    assert {record.key: record for record in files.read()} == {RECORD.key: RECORD, other.key: other}
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a/b").iterdir()} == {0o600}
    for _ in range(2):
        files.remove(RECORD.key)
    assert [record.key for record in files.read()] == [other.key]


def test_another_run_of_the_machine(files: LeaseFiles, tmp_path: Path) -> None:
    files.write(RECORD)
    assert list(LeaseFiles(tmp_path / "a" / "b", "b2").read()) == []
    assert list((tmp_path / "a/b").iterdir()) == []


def only_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "a/b").iterdir()
    return path


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", "\0" * 20, "[" * 100_000])
def test_torn_files(content: str, files: LeaseFiles, tmp_path: Path) -> None:
    files.write(RECORD)
    only_file(tmp_path).write_text(content)
    assert list(files.read()) == []
    assert list((tmp_path / "a/b").iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [None, [], {}, "x", -1, 1 << 70, [1], {"a": 1}, {"0": ""}, [float("nan")] * 3]
)
@pytest.mark.parametrize(
    "key",
    ["format", "boot", "network", "netns", "netnsIdentity", "clientID", "requested", "provided",
     "address", "server", "serverMAC", "options", "times"],
)  # fmt: skip
def test_wrong_values(key: str, wrong: Any, files: LeaseFiles, tmp_path: Path) -> None:
    files.write(RECORD)
    path = only_file(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: wrong}))
    for record in files.read():
        assert record.key == RECORD.key
        assert record.lease.address == ADDRESS


def test_a_file_under_another_name_and_the_files_of_others(
    files: LeaseFiles, tmp_path: Path
) -> None:
    files.write(RECORD)
    only_file(tmp_path).rename(tmp_path / "a/b/moved.json")
    (tmp_path / "a/b/x.new").touch()
    (tmp_path / "a/b/README").touch()
    assert list(files.read()) == []
    assert only_file(tmp_path).name == "README"
