"""Labs for tests: uniquely named, and gone afterwards, which is checked."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.probes import leftovers
from podway.lab.labs import bring_up
from podway.lab.progress import silent
from podway.lab.specs import LabSpec
from podway.lab.teardown import take_down


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("root")
            item.add_marker("lab")


@pytest.fixture
def lab_name() -> Iterator[str]:
    """Give the name of a lab that does not exist; whatever stands there later is removed."""
    name = f"t{secrets.token_hex(4)}"
    yield name
    take_down(name, silent)
    assert leftovers(name) == []


@pytest.fixture
def make_lab(lab_name: str) -> Callable[..., LabSpec]:
    """Give a function that brings the test's lab up; two nodes unless told otherwise."""

    def make(**fields: Any) -> LabSpec:
        spec = LabSpec(**{"name": lab_name, "nodes": (1, 2), **fields})
        return bring_up(spec, silent)

    return make
