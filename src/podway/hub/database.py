"""The hub's disk: one SQLite file in WAL mode, written by one hub, one transaction per batch.

In: what a batch changes. Out, at start: everything. A transaction is on the disk (fsync) when
`commit` returns; when it raises, the file is as it was before, or as it would be after: never in
between (SQLite checksums every frame of its log, so a torn last write is dropped as a whole).
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from msgspec import Struct

from podway.hub.state import Record
from podway.hub.terms import Term
from podway.store.refusals import StorageFailed

SCHEMA_VERSION = 1
FILE_NAME = "hub.sqlite"
_SCHEMA = """
CREATE TABLE objects (
    kind TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE TABLE terms (
    name TEXT PRIMARY KEY, ttl_s INTEGER NOT NULL, deadline_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE store (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    store_id TEXT NOT NULL, age_s REAL NOT NULL, compacted INTEGER NOT NULL
);
"""

T = TypeVar("T")


class Stored(Struct, frozen=True, kw_only=True):
    """Everything on the disk; *age_s* is hub time at the last write."""

    store_id: str
    age_s: float
    compacted: int
    records: tuple[Record, ...]
    terms: tuple[Term, ...]


class Database:
    """The open file. Every method raises `StorageFailed` when the disk or the file fails."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self._connection = self._guard("open", self._open)

    def load(self) -> Stored:
        """Read everything, records in the order of their revisions."""
        return self._guard("read", self._load)

    def commit(
        self,
        *,
        age_s: float,
        records: Iterable[Record] = (),
        terms: Iterable[Term] = (),
        ended: Iterable[str] = (),
        compacted: int | None = None,
    ) -> None:
        """Write one batch, whole, and return when it is durable."""
        self._guard("write", lambda: self._commit(age_s, records, terms, ended, compacted))

    def close(self) -> None:
        """Close the file; SQLite folds its log into it."""
        self._guard("close", self._connection.close)

    def _guard(self, what: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorname", "")
            raise StorageFailed(f"cannot {what} {self.path}: {error} ({code})") from error

    def _open(self) -> sqlite3.Connection:
        # It holds the network's shared secret; SQLite gives its other files the same mode.
        self.path.touch(mode=0o600)
        self.path.chmod(0o600)
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
        try:
            # One hub per file: a second one fails here with "database is locked".
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO store VALUES (1, ?, 0, 0)", (token_hex(8),))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
        if version not in {0, SCHEMA_VERSION}:
            rule = f"this hub knows version {SCHEMA_VERSION}; update podway"
            raise StorageFailed(f"{self.path} has format version {version}: {rule}")

    def _load(self) -> Stored:
        cursor = self._connection.cursor()
        store_id, age_s, compacted = cursor.execute(
            "SELECT store_id, age_s, compacted FROM store"
        ).fetchone()
        records = cursor.execute(
            "SELECT kind, name, revision, value FROM objects ORDER BY revision"
        ).fetchall()
        terms = cursor.execute("SELECT name, ttl_s, deadline_s FROM terms").fetchall()
        return Stored(
            store_id=store_id,
            age_s=age_s,
            compacted=compacted,
            records=tuple(Record(*row) for row in records),
            terms=tuple(Term(*row) for row in terms),
        )

    def _commit(
        self,
        age_s: float,
        records: Iterable[Record],
        terms: Iterable[Term],
        ended: Iterable[str],
        compacted: int | None,
    ) -> None:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                cursor.executemany(
                    "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
                    [(r.kind, r.name, r.revision, r.value) for r in records],
                )
                cursor.executemany(
                    "INSERT OR REPLACE INTO terms VALUES (?, ?, ?)",
                    [(t.name, t.ttl_s, t.deadline_s) for t in terms],
                )
                cursor.executemany("DELETE FROM terms WHERE name = ?", [(name,) for name in ended])
                cursor.execute("UPDATE store SET age_s = ?", (age_s,))
                if compacted is not None:
                    self._compact(cursor, compacted)
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise

    def _compact(self, cursor: sqlite3.Cursor, compacted: int) -> None:
        cursor.execute("DELETE FROM objects WHERE value IS NULL AND revision <= ?", (compacted,))
        cursor.execute("UPDATE store SET compacted = ?", (compacted,))
