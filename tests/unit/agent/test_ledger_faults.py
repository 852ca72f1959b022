"""The ledger when its process is killed, its disk is full, or its last write is torn."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from podway.agent.ipam import Ipam
from podway.agent.ledger import Ledger, LedgerError
from podway.model.addresses import Family
from unit.agent.values import SUBNET_IPV4, endpoint, held, key

KILLS = 12
FRAME_BYTES = 24 + 4096  # SQLite's file format, section 4.1: frame header and page
_CHILD = Path(__file__).with_name("ledger_child.py")


# --- killed -------------------------------------------------------------------------------------


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """One uncertain change is allowed: the one that was under way when the process was killed."""
    path = tmp_path / "agent.db"
    chance = random.Random(7)
    live: dict[str, str] = {}
    for number in range(KILLS):
        lines = _run_until_killed(path, str(number), chance.randrange(10, 400))
        uncertain = _replay(lines, live)
        ledger = Ledger(path)
        there = held(ledger)
        by_container = {container: address for address, container in there.items()}
        assert len(by_container) == len(there), "one container holds two addresses of a family"
        expected = {name: live[name] for name in live if name != uncertain}
        assert {name: by_container.get(name) for name in expected} == expected
        assert by_container.keys() - expected.keys() <= {uncertain}
        assert {item.key.container_id for item, _ in ledger.endpoints().values()} == set(
            by_container
        )
        live = by_container
        ledger.close()


def _run_until_killed(path: Path, seed: str, lines_wanted: int) -> list[str]:
    """Return what the child said until it was killed, which was soon after *lines_wanted* lines."""
    child = subprocess.Popen(
        [sys.executable, _CHILD, path, seed], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    try:
        lines = [child.stdout.readline() for _ in range(lines_wanted)]
        assert lines[0] == "ready\n"
    finally:
        child.kill()
        rest = child.stdout.read()
        child.stdout.close()
        child.wait()
    return [line.strip() for line in lines[1:] + rest.splitlines() if line.strip()]


def _replay(lines: list[str], live: dict[str, str]) -> str:
    """Bring *live* (container to address) up to date; return whose change was under way."""
    uncertain = ""
    for line in lines:
        mark, verb, container, *address = line.split()
        if mark == "?":
            uncertain = container
            continue
        uncertain = ""
        if verb == "add":
            assert address[0] not in live.values(), f"{address[0]} was given twice"
            live[container] = address[0]
        else:
            del live[container]
    return uncertain


# --- full ---------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def _ipam(ledger: Ledger) -> Ipam:
    ipam = Ipam(ledger, cooldown_s=30)
    ipam.set_subnets({Family.IPV4: SUBNET_IPV4})
    return ipam


def _add(ipam: Ipam, name: str) -> None:
    (address,) = ipam.take(())
    ipam.add(endpoint(name, str(address)), "")


def _add_until_refused(ipam: Ipam) -> int:
    """Return how many additions there was still room for."""
    for number in range(200):
        try:
            _add(ipam, f"c{number}")
        except LedgerError:
            return number
    raise AssertionError("the disk was never full")


def test_a_full_disk_refuses_and_holds_nothing(small_disk: Path) -> None:
    ledger = Ledger(small_disk / "agent.db")
    ipam = _ipam(ledger)
    _add(ipam, "before")
    ballast = small_disk / "ballast"
    _fill(ballast)
    added = _add_until_refused(ipam)
    assert len(held(ledger)) == ipam.pools[Family.IPV4].used == 1 + added
    assert len(ledger.endpoints()) == 1 + added
    with pytest.raises(LedgerError):
        ledger.remember([("node", "a", bytes(100_000))])

    ballast.unlink()
    _add(ipam, "after")
    ledger.remove(key("before"), 1.0)
    ledger.flush()
    ledger.close()
    again = Ledger(small_disk / "agent.db")
    assert len(held(again)) == 1 + added
    assert "after" in held(again).values()
    again.close()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_disk_that_is_full_at_the_start_is_not_called_damaged(small_disk: Path) -> None:
    path = small_disk / "agent.db"
    Ledger(path).close()
    ballast = small_disk / "ballast"
    _fill(ballast)
    with pytest.raises(LedgerError) as refused:
        Ledger(path)
    assert "damaged" not in str(refused.value)
    ballast.unlink()
    Ledger(path).close()


def test_a_database_at_its_limit_refuses_and_works_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "agent.db")
    ipam = _ipam(ledger)
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count={pages}")
    written = _add_until_refused(ipam)
    assert written == len(held(ledger)) == ipam.pools[Family.IPV4].used
    ledger._db.execute("PRAGMA max_page_count=100000")
    _add(ipam, "after")
    assert len(held(ledger)) == written + 1
    ledger.close()


# --- torn ---------------------------------------------------------------------------------------


def _cut(count: int) -> object:
    return lambda log: log[:-count]


def _garble(count: int) -> object:
    return lambda log: log[:-count] + bytes(byte ^ 0x55 for byte in log[-count:])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_cut(1), id="last byte missing"),
        pytest.param(_cut(FRAME_BYTES // 2), id="half a frame missing"),
        pytest.param(_cut(FRAME_BYTES), id="the commit's frame missing"),
        pytest.param(_garble(1), id="last byte wrong"),
        pytest.param(_garble(FRAME_BYTES), id="last frame garbage"),
        pytest.param(lambda log: log + os.urandom(FRAME_BYTES), id="garbage behind it"),
        pytest.param(lambda log: log + bytes(10 * FRAME_BYTES), id="zeroes behind it"),
    ],
)
def test_a_torn_last_write_loses_that_write_alone(tmp_path: Path, damage: object) -> None:
    """The files as a power failure leaves them: copied while the ledger is open, then damaged."""
    ledger = Ledger(tmp_path / "live" / "agent.db")
    for number in range(20):
        ledger.add(endpoint(f"c{number}", f"10.244.1.{number + 2}"), "", {})
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("agent.db", "agent.db-wal"):
        shutil.copy(tmp_path / "live" / name, torn / name)
    log = torn / "agent.db-wal"
    log.write_bytes(damage(log.read_bytes()))  # type: ignore[operator]
    ledger.close()

    again = Ledger(torn / "agent.db")
    there = {item.key.container_id for item, _ in again.endpoints().values()}
    assert there >= {f"c{number}" for number in range(19)}
    assert set(held(again).values()) == there
    again.add(endpoint("new", "10.244.1.99"), "", {})
    again.close()
