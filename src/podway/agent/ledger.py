"""What a node must still know after a crash: endpoints, addresses, the cluster as last seen.

One SQLite file in the state directory, one writer. A transaction is in the file (and safe from a
kill) when the call returns; `flush` makes it safe from a power failure too, and may run in another
thread meanwhile, so that the wait for the disk overlaps with the work in the kernel. An ADD answers
only after both. SQLite's write-ahead log discards a torn last write by its checksum.

An address is in the ledger before it is in any kernel, and stays until its endpoint is gone from
the kernel: whatever is killed when, no address is given twice.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from msgspec import Struct

from podway.errors import PodwayError
from podway.model.addresses import IPAddress
from podway.model.endpoints import Endpoint, EndpointKey

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE endpoints (
    network TEXT, container_id TEXT, ifname TEXT,
    netns TEXT NOT NULL, netns_id TEXT NOT NULL, attach TEXT NOT NULL, mtu INTEGER NOT NULL,
    pod TEXT NOT NULL, mac TEXT NOT NULL,
    PRIMARY KEY (network, container_id, ifname)
) WITHOUT ROWID;
-- released_at is NULL while the address is held, else when it was given back (Unix time, seconds).
CREATE TABLE addresses (
    address TEXT PRIMARY KEY,
    network TEXT NOT NULL, container_id TEXT NOT NULL, ifname TEXT NOT NULL,
    position INTEGER NOT NULL, released_at REAL
) WITHOUT ROWID;
CREATE INDEX addresses_by_endpoint ON addresses (network, container_id, ifname);
CREATE TABLE cursors (subnet TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cluster (kind TEXT, name TEXT, value BLOB NOT NULL, PRIMARY KEY (kind, name))
    WITHOUT ROWID;
"""


class LedgerError(PodwayError):
    """The ledger cannot be read or written; nothing of the attempted change was kept."""


class HeldAddress(Struct, frozen=True):
    """One row of the address table; `released_at` is None while the address is held."""

    address: IPAddress
    key: EndpointKey
    released_at: float | None


class Ledger:
    """The node's durable state.

    Args:
        path: of the SQLite file; its directory is made, for root only, if need be.

    Raises:
        LedgerError: the file is damaged, from a newer podway, another agent's, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as undo:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                undo.callback(os.close, self._lock())
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                undo.callback(self._db.close)
                path.chmod(0o600)
                self._prepare()
                # It is there from the first statement on, and stays the same file until `close`.
                self._log_fd = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, self._log_fd)
                self._keep()
            except OSError as error:
                raise LedgerError(f"cannot open {path}: {error}") from error
            except sqlite3.Error as error:
                raise LedgerError(_describe(path, error)) from error
            self._resources = undo.pop_all()

    def _lock(self) -> int:
        """Return a descriptor that keeps every other agent away from the directory (flock(2)).

        Two agents with one ledger would give addresses twice, each from its own memory.
        """
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise LedgerError(
                f"{self.path.parent} is in use by another podway agent: end that one, or give "
                "this one a directory of its own (--state-dir)"
            ) from error
        return fd

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA temp_store=MEMORY")
        self._db.execute("PRAGMA cache_size=-512")
        problem = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise LedgerError(_damaged(self.path, problem))
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"{self.path} has format {version}, and this podway knows none after "
                f"{SCHEMA_VERSION}: run the newer podway that wrote it"
            )
        if version == 0:
            self._db.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            )

    def _keep(self) -> None:
        """Make files that are new outlive a power failure: their content and their names."""
        os.fdatasync(self._log_fd)
        _sync_directory(self.path.parent)

    @contextmanager
    def _transaction(self, attempt: str) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                # What cannot even be rolled back is not committed either; the first error counts.
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise LedgerError(f"cannot {attempt} in {self.path}: {error}") from error
            raise

    def flush(self) -> None:
        """Return when everything written so far is on the disk. May be called from any thread.

        Raises:
            LedgerError: the disk did not take it.
        """
        try:
            os.fdatasync(self._log_fd)
        except OSError as error:
            raise LedgerError(f"cannot flush {self.path}: {error}") from error

    def close(self) -> None:
        """Write everything into the main file and close it."""
        self._resources.close()

    # --- endpoints and addresses ----------------------------------------------------------------

    def add(self, endpoint: Endpoint, netns_id: str, cursors: dict[str, int]) -> None:
        """Record *endpoint*, its addresses, and how far its pools have come, all or nothing.

        An address that somebody holds is refused, whoever asks.

        Args:
            endpoint: the interface that is about to be made.
            netns_id: identity of its namespace, to know it again after a restart.
            cursors: subnet to cursor of every pool that was used.
        """
        key = endpoint.key
        identity = (key.network, key.container_id, key.ifname)
        with self._transaction(f"record {key}") as db:
            db.execute(
                "INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *identity,
                    endpoint.netns,
                    netns_id,
                    endpoint.attach,
                    endpoint.mtu,
                    endpoint.pod,
                    endpoint.mac,
                ),
            )
            given = db.executemany(
                "INSERT INTO addresses VALUES (?1, ?2, ?3, ?4, ?5, NULL) ON CONFLICT (address)"
                " DO UPDATE SET network = ?2, container_id = ?3, ifname = ?4, position = ?5,"
                " released_at = NULL WHERE released_at IS NOT NULL",
                [(str(item), *identity, n) for n, item in enumerate(endpoint.addresses)],
            ).rowcount
            if given != len(endpoint.addresses):
                # The last line of defence: the pools in memory should have known better.
                raise LedgerError(f"cannot record {key}: an address of it is held by another")
            db.executemany(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?)",
                [(subnet, str(cursor)) for subnet, cursor in cursors.items()],
            )

    def remove(self, key: EndpointKey, released_at: float) -> None:
        """Record that the endpoint with *key* is gone and its addresses rest from *released_at*."""
        identity = (key.network, key.container_id, key.ifname)
        where = "network = ? AND container_id = ? AND ifname = ?"
        with self._transaction(f"release {key}") as db:
            db.execute(f"DELETE FROM endpoints WHERE {where}", identity)  # noqa: S608  (fixed text)
            db.execute(
                f"UPDATE addresses SET released_at = ? WHERE {where} AND released_at IS NULL",  # noqa: S608
                (released_at, *identity),
            )

    def endpoints(self) -> dict[EndpointKey, tuple[Endpoint, str]]:
        """Return every recorded endpoint with the identity of its namespace."""
        held: dict[EndpointKey, list[IPAddress]] = {}
        for row in self.addresses():
            if row.released_at is None:
                held.setdefault(row.key, []).append(row.address)
        found = {}
        for *identity, netns, netns_id, attach, mtu, pod, mac in self._select(
            "SELECT * FROM endpoints"
        ):
            key = EndpointKey(*identity)
            endpoint = Endpoint(
                key=key,
                netns=netns,
                addresses=tuple(held.get(key, ())),
                attach=attach,
                mtu=mtu,
                pod=pod,
                mac=mac,
            )
            found[key] = (endpoint, netns_id)
        return found

    def addresses(self) -> list[HeldAddress]:
        """Return every address that is held or was given back, in order of release."""
        rows = self._select(
            "SELECT address, network, container_id, ifname, released_at FROM addresses"
            " ORDER BY released_at, position"
        )
        return [HeldAddress(ip_address(row[0]), EndpointKey(*row[1:4]), row[4]) for row in rows]

    def cursors(self) -> dict[str, int]:
        """Return how far each pool has come, by subnet."""
        return {subnet: int(text) for subnet, text in self._select("SELECT * FROM cursors")}

    # --- the cluster as last seen ---------------------------------------------------------------

    def remember(self, changes: Iterable[tuple[str, str, bytes | None]]) -> None:
        """Keep (kind, name, value) for the next start; a value of None forgets it."""
        with self._transaction("remember the cluster") as db:
            for kind, name, value in changes:
                if value is None:
                    db.execute("DELETE FROM cluster WHERE kind = ? AND name = ?", (kind, name))
                else:
                    db.execute(
                        "INSERT OR REPLACE INTO cluster VALUES (?, ?, ?)", (kind, name, value)
                    )

    def remembered(self, kind: str) -> dict[str, bytes]:
        """Return name and value of everything of *kind* that was kept."""
        return dict(self._select("SELECT name, value FROM cluster WHERE kind = ?", kind))

    def _select(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"cannot read {self.path}: {error}") from error


def _describe(path: Path, error: sqlite3.Error) -> str:
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(error))
    return f"cannot open {path}: {error}"


def _damaged(path: Path, how: str) -> str:
    return (
        f"{path} is damaged ({how}): restore it, or drain the node, move the file away "
        "and start again"
    )


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
