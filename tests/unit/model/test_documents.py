"""What the documentation shows as net-conf.json is taken as it stands."""

import re
from pathlib import Path

import pytest

from podway.model.backends import BACKEND_NAMES
from podway.model.networks import parse_network

DOCS = Path(__file__).parents[3] / "docs"
PAGES = (
    "howto/change-a-running-cluster.md",
    "howto/choose-a-backend.md",
    "reference/net-conf.md",
)
EXAMPLES = [
    pytest.param(text, id=f"{page} {number}")
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"```json\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    )
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_taken(text: str) -> None:
    assert parse_network(text).pools


def test_there_is_an_example_of_every_backend() -> None:
    shown = {parse_network(str(each.values[0])).backend_name for each in EXAMPLES}
    assert shown == set(BACKEND_NAMES)
