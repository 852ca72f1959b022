"""Our nftables table beside others': commits, ours and theirs, and what of them is told."""

import subprocess
import threading
from contextlib import closing

import pytest
from msgspec.structs import replace

from netns.conftest import run
from netns.kernel.stock import TABLE_BODY
from netns.kernel.worlds import (
    RealWorld,
    apply,
    build,
    change,
    delete,
    forget,
    read_one,
    wait_for_more,
)
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import Seen
from podway.model.kernel import NftTable

TABLE = NftTable("inet", "podway", TABLE_BODY)


def test_our_own_commits_are_no_news(real: RealWorld) -> None:
    build(real, TABLE)
    other = replace(TABLE, body=TABLE_BODY.replace("one", "two"))
    apply(real, change(other, TABLE), change(TABLE, other))
    assert real.kernel.drain() == []
    apply(real, delete(TABLE), delete(TABLE))
    assert real.kernel.drain() == []
    real.tamper_set(TABLE)
    assert isinstance(wait_for_more(real)[0], Seen)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("flush", "table", "inet", "podway"), id="flushed"),
        pytest.param(("flush", "chain", "inet", "podway", "forward"), id="a chain flushed"),
        pytest.param(("add", "rule", "inet", "podway", "forward", "accept"), id="a rule added"),
        pytest.param(("add", "chain", "inet", "podway", "more"), id="a chain added"),
        pytest.param(
            ("add", "set", "inet", "podway", "s", "{type inet_service;}"), id="a set added"
        ),
        pytest.param(("flush", "ruleset"), id="everything flushed"),
    ],
)
def test_others_commits_are_told(real: RealWorld, words: tuple[str, ...]) -> None:
    build(real, TABLE)
    forget(real)
    real.netns.exec("nft", *words)
    # Of a commit whose parts come slowly, more than one look at the table may tell.
    events = wait_for_more(real)
    assert {event.key for event in events if isinstance(event, Seen)} == {TABLE.key}
    assert all(isinstance(event, Seen) and event.found != TABLE for event in events)
    assert read_one(real, TABLE.key) != TABLE
    build(real, TABLE)
    assert read_one(real, TABLE.key) == TABLE
    real.assert_there(TABLE)


def test_commits_of_other_tables_are_no_news(real: RealWorld) -> None:
    build(real, TABLE)
    forget(real)
    real.netns.exec("nft", "add", "table", "inet", "other")
    assert real.kernel.drain() == []
    assert read_one(real, TABLE.key) == TABLE
    assert set(real.kernel.read([])) == {TABLE.key}


def test_counters_do_not_make_a_difference(real: RealWorld) -> None:
    body = "chain out {\n\ttype filter hook output priority filter; policy accept;\n\tcounter\n}\n"
    table = replace(TABLE, body=body)
    build(real, table)
    with pytest.raises(subprocess.CalledProcessError):
        real.netns.exec("python3", "-c", "import socket;socket.create_connection(('127.0.0.1',9))")
    assert "packets 0 " not in real.netns.exec("nft", "list", "table", "inet", "podway")
    assert read_one(real, table.key) == table


def test_a_table_of_an_earlier_process_counts_as_changed(real: RealWorld) -> None:
    build(real, TABLE)
    with closing(NodeKernel(real.netns.fd)) as later:
        found = later.read([TABLE.key])[TABLE.key]
        assert found != TABLE
        assert later.apply([change(TABLE, found)]) == [None]
        assert later.read([TABLE.key])[TABLE.key] == TABLE
    wait_for_more(real)


def test_a_commit_is_atomic(real: RealWorld) -> None:
    """Nobody who looks ever finds the table missing or empty while it is written anew."""
    build(real, TABLE)
    other = replace(TABLE, body=TABLE_BODY.replace("one", "two"))
    missing: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            shown = run("nsenter", f"--net={real.netns.path}", "nft", "list", "ruleset")
            if "comment" not in shown:
                missing.append(shown)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(10):
            apply(real, change(other, TABLE), change(TABLE, other))
    finally:
        done.set()
        thread.join()
    assert missing == []
