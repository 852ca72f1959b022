"""What a node writes down is what it reads back, or a clear refusal."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from podway.agent.ledger import SCHEMA_VERSION, Ledger, LedgerError
from unit.agent.values import endpoint, held, key


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "state" / "agent.db")
    yield made
    made.close()


def reopened(ledger: Ledger) -> Ledger:
    ledger.close()
    return Ledger(ledger.path)


def test_an_endpoint_comes_back_as_it_was(ledger: Ledger) -> None:
    made = endpoint("c1", "10.244.1.5", "fd00:10:244:1::5", attach="routed", mtu=1430)
    ledger.add(made, "4:77", {"10.244.1.0/24": 6, "fd00:10:244:1::/64": 2**127})
    again = reopened(ledger)
    assert again.endpoints() == {made.key: (made, "4:77")}
    assert again.cursors() == {"10.244.1.0/24": 6, "fd00:10:244:1::/64": 2**127}
    assert held(again) == {"10.244.1.5": "c1", "fd00:10:244:1::5": "c1"}
    again.close()


def test_a_removed_endpoint_leaves_resting_addresses(ledger: Ledger) -> None:
    ledger.add(endpoint("c1", "10.244.1.2", "fd00::2"), "", {})
    ledger.add(endpoint("c2", "10.244.1.3"), "", {})
    ledger.remove(key("c1"), 100.5)
    again = reopened(ledger)
    assert list(again.endpoints()) == [key("c2")]
    assert held(again) == {"10.244.1.3": "c2"}
    released = {str(row.address): row.released_at for row in again.addresses()}
    assert released == {"10.244.1.3": None, "10.244.1.2": 100.5, "fd00::2": 100.5}
    again.close()


def test_an_address_that_is_given_again_has_its_new_owner_alone(ledger: Ledger) -> None:
    ledger.add(endpoint("c1", "10.244.1.2"), "", {})
    ledger.remove(key("c1"), 1.0)
    ledger.add(endpoint("c2", "10.244.1.2"), "", {})
    # The old owner's removal, repeated, must not touch what is the new one's.
    ledger.remove(key("c1"), 2.0)
    assert held(ledger) == {"10.244.1.2": "c2"}


@pytest.mark.parametrize("addresses", [("10.244.1.2",), ("fd00::9", "10.244.1.2")])
def test_an_address_that_is_held_is_nobody_else_s(
    ledger: Ledger, addresses: tuple[str, ...]
) -> None:
    ledger.add(endpoint("c1", "10.244.1.2"), "", {})
    with pytest.raises(LedgerError, match="held by another"):
        ledger.add(endpoint("c2", *addresses), "", {})
    assert held(ledger) == {"10.244.1.2": "c1"}
    assert list(ledger.endpoints()) == [key("c1")]


def test_one_container_is_attached_twice(ledger: Ledger) -> None:
    for name, address in (("eth0", "10.244.1.2"), ("net1", "10.244.1.3")):
        ledger.add(replace(endpoint("c1", address), key=key("c1", name)), "", {})
    assert set(ledger.endpoints()) == {key("c1", "eth0"), key("c1", "net1")}
    ledger.remove(key("c1", "eth0"), 1.0)
    assert held(ledger) == {"10.244.1.3": "c1"}


def test_addresses_come_in_the_order_of_their_release(ledger: Ledger) -> None:
    for number in range(2, 6):
        ledger.add(endpoint(f"c{number}", f"10.244.1.{number}"), "", {})
    for number, moment in ((3, 30.0), (5, 10.0), (2, 20.0)):
        ledger.remove(key(f"c{number}"), moment)
    resting = [str(row.address) for row in ledger.addresses() if row.released_at is not None]
    assert resting == ["10.244.1.5", "10.244.1.2", "10.244.1.3"]


def test_the_cluster_is_remembered_and_forgotten(ledger: Ledger) -> None:
    ledger.remember([("node", "a", b"1"), ("node", "b", b"2"), ("network", "", b"{}")])
    ledger.remember([("node", "a", None), ("node", "b", b"3"), ("node", "never", None)])
    again = reopened(ledger)
    assert again.remembered("node") == {"b": b"3"}
    assert again.remembered("network") == {"": b"{}"}
    assert again.remembered("me") == {}
    again.close()


def test_a_change_is_whole_or_not_at_all(ledger: Ledger) -> None:
    ledger.add(endpoint("c1", "10.244.1.2"), "", {"10.244.1.0/24": 3})
    broken = endpoint("c2", "10.244.1.3")
    with pytest.raises(UnicodeEncodeError):
        # The last of its statements fails; text that no file can hold is refused by Python itself.
        ledger.add(broken, "", {"10.244.1.0/24": 4, "\ud800": 1})
    with pytest.raises(LedgerError):
        ledger.remember([("node", "a", b"1"), ("node", "b", object())])  # type: ignore[list-item]
    assert held(ledger) == {"10.244.1.2": "c1"}
    assert ledger.cursors() == {"10.244.1.0/24": 3}
    assert ledger.remembered("node") == {}
    ledger.add(broken, "", {})
    assert len(ledger.endpoints()) == 2


def test_flush_may_run_beside_writes(ledger: Ledger) -> None:
    failures: list[BaseException] = []

    def flush() -> None:
        try:
            for _ in range(20):
                ledger.flush()
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=flush) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        ledger.add(endpoint(f"c{number}", f"10.1.0.{number}"), "", {})
    for thread in threads:
        thread.join()
    assert not failures
    assert len(held(ledger)) == 200


def test_opening_and_closing_leaves_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for _ in range(3):
        Ledger(tmp_path / "agent.db").close()
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_only_root_reads_it(ledger: Ledger) -> None:
    for path, mode in ((ledger.path, 0o600), (ledger.path.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


# --- files that cannot be used ------------------------------------------------------------------


def test_two_agents_cannot_have_one_ledger(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="another podway agent"):
        Ledger(ledger.path)
    reopened(ledger).close()


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(LedgerError, match=f"format {SCHEMA_VERSION + 1}"):
        Ledger(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    db.close()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"garbage" * 1000, id="no database"),
        pytest.param(b"SQLite format 3\0" + b"\xff" * 8176, id="a garbled header"),
    ],
)
def test_garbage_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(content)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(path)
    assert path.read_bytes() == content
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_garbled_page_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    made = Ledger(path)
    for number in range(500):
        made.add(endpoint(f"c{number}", f"10.{number // 250}.0.{number % 250}"), "", {})
    made.close()
    content = bytearray(path.read_bytes())
    content[8192:16384] = os.urandom(8192)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(path)


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot open"):
        Ledger(tmp_path / "file" / "agent.db")
