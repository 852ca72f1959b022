"""A bench with one ledger, closed at the end."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from podway.store.refusals import StorageFailed
from unit.hub.ledgers import Bench, network


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A ledger with a network 10.9.0.0/16, /24 for each node, host-gw."""
    made = Bench(tmp_path)
    made.do(network())
    yield made
    with contextlib.suppress(StorageFailed):
        made.database.close()
