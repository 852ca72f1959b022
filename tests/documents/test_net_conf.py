"""What documents and examples show as net-conf.json is taken, with every key; each key is told."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from documents.pages import ROOT, blocks, read_page, read_pages
from podway.model.backends import BACKEND_NAMES
from podway.model.fields import Fields
from podway.model.networks import parse_network


def documents_in(text: str) -> Iterator[str]:
    """Yield the objects in a block of code that are networks; commands may stand around them."""
    decoder, end = json.JSONDecoder(), 0
    for match in re.finditer(r"^ *(?=\{)", text, re.MULTILINE):
        if match.end() < end:
            continue
        try:
            document, end = decoder.raw_decode(text, match.end())
        except ValueError:
            continue
        if "Network" in document:
            yield text[match.end() : end]


SHOWN = {
    f"{page.name} {number}": text
    for page in read_pages()
    for number, text in enumerate(each for block in blocks(page) for each in documents_in(block))
}
FILES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "examples" / "net-conf").glob("*.json")
}
NETWORKS = [pytest.param(text, id=name) for name, text in (SHOWN | FILES).items()]


def keys_of(value: Any) -> set[str]:
    """Return every key in *value*, at any depth."""
    if isinstance(value, list):
        return {key for each in value for key in keys_of(each)}
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in keys_of(each)}
    return set()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the keys that the parser asks for, as they come."""
    keys = set[str]()
    look = Fields.raw

    def raw(fields: Fields, name: str) -> Any:
        keys.add(name)
        return look(fields, name)

    monkeypatch.setattr(Fields, "raw", raw)
    return keys


@pytest.mark.parametrize("text", NETWORKS)
def test_it_is_taken_and_no_key_is_passed_over(text: str, asked: set[str]) -> None:
    assert parse_network(text).pools
    assert keys_of(json.loads(text)) - asked == set()


def test_there_is_one_of_every_backend() -> None:
    assert len(SHOWN) > 12
    assert {parse_network(text).backend_name for text in SHOWN.values()} == set(BACKEND_NAMES)


def test_every_key_is_in_the_reference(asked: set[str]) -> None:
    for text in SHOWN.values():
        parse_network(text)
    told = set(re.findall(r"`(?:Backend\.)?(\w+)`", read_page("docs/reference/net-conf.md").text))
    assert len(asked) > 25
    assert asked - told - {"Backend"} == set()
