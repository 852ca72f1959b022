"""A ledger on a real SQLite file with a clock that the test turns, and short words for requests."""

import json
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from podway.hub.database import Database
from podway.hub.ledger import Answered, Ledger, Outcome
from podway.hub.state import Record, State
from podway.model.addresses import Family
from podway.model.nodes import Claim, Node, Wish
from podway.store.codec import claim_to_body, decode_node
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    NETWORK_NAME,
    AnyRequest,
    ClaimLease,
    Put,
    ReleaseLease,
    RenewLease,
    Reserve,
)
from podway.store.protocol import StoreError

HOST_GW: dict[str, Any] = {"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A ledger in *directory*, and how to start it anew."""

    def __init__(self, directory: Path, tombstones_max: int = 100) -> None:
        self.directory = directory
        self.clock = Clock()
        self._tombstones_max = tombstones_max
        self.ledger = self._open()

    def _open(self) -> Ledger:
        self.database = Database(self.directory)
        return Ledger(self.database, self.clock, self._tombstones_max)

    def restart(self, *, crash: bool = False) -> None:
        """End the ledger, by a crash or in order, and open it again."""
        if crash:
            self.database.close()
        else:
            self.ledger.close()
        self.ledger = self._open()

    @property
    def state(self) -> State:
        return self.ledger.state

    def batch(self, *requests: AnyRequest) -> tuple[list[Outcome], tuple[Record, ...]]:
        return self.ledger.run(requests)

    def do(self, request: AnyRequest) -> Answered:
        """Carry out one request; raise what it is refused with."""
        (outcome,), _ = self.ledger.run([request])
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def tick(self, seconds: float) -> tuple[Record, ...]:
        """Let time pass; return what ended."""
        self.clock.now_s += seconds
        return self.ledger.run([])[1]

    def nodes(self) -> dict[str, Node]:
        return {
            record.name: decode_node(record.value)
            for record in self.state.records(KIND_NODE)
            if record.value is not None
        }


def network(
    document: dict[str, Any] | None = None, *, expected: int | None = None, force: bool = False
) -> Put:
    text = json.dumps(HOST_GW if document is None else document)
    return Put(
        id=1,
        kind=KIND_CONFIG,
        name=NETWORK_NAME,
        value=text.encode(),
        expected=expected,
        force=force,
    )


def claim(
    name: str, address: str = "192.0.2.1", *, subnet: str | None = None, ttl_s: int = 60
) -> ClaimLease:
    wish = Wish(
        family=Family.IPV4,
        public_ip=ip_address(address),
        subnet=None if subnet is None else ip_network(subnet),
    )
    asked = Claim(name=name, backend="host-gw", wishes=(wish,), ttl_s=ttl_s)
    return ClaimLease(id=1, claim=claim_to_body(asked))


def renew(name: str) -> RenewLease:
    return RenewLease(id=1, name=name)


def release(name: str) -> ReleaseLease:
    return ReleaseLease(id=1, name=name)


def reserve(name: str, subnets: Sequence[str]) -> Reserve:
    return Reserve(id=1, name=name, subnets=tuple(subnets))


def put(value: bytes, expected: int | None = None, *, kind: str = "note", name: str = "n") -> Put:
    return Put(id=1, kind=kind, name=name, value=value, expected=expected)
