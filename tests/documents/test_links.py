"""What documents point to is there: files, headings, modules."""

import re
from pathlib import Path

import pytest

from documents.pages import ROOT, Page, inline_code, read_page, read_pages

PAGES = [pytest.param(page, id=page.name) for page in read_pages()]
DESIGN = [pytest.param(page, id=page.name) for page in read_pages() if "/design/" in page.name]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MODULE = re.compile(r"(?:[a-z_]+/)+[a-z_]+(?:\.py)?")
ROOMS = {path.name for path in (*ROOT.iterdir(), *(ROOT / "src" / "podway").iterdir())}
SOURCES = (ROOT, ROOT / "src" / "podway", ROOT / "docs" / "design")


def anchors(text: str) -> set[str]:
    """Return the headings' names in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", Page("", text).prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def target_of(page: Page, link: str) -> tuple[Path, str]:
    """Return the file that *link* leads to, and the heading in it ("" for its beginning)."""
    name, _, heading = link.partition("#")
    start = (ROOT / page.name).parent
    return (start / name if name else ROOT / page.name), heading


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Page) -> None:
    for link in _LINK.findall(page.text):
        if link.startswith("https://"):
            continue
        path, heading = target_of(page, link)
        assert path.exists(), f"{page.name}: {link}"
        if heading:
            assert heading in anchors(path.read_text(encoding="utf-8")), f"{page.name}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        page = read_page(str(path.relative_to(ROOT)))
        links = (link for link in _LINK.findall(page.text) if not link.startswith("https://"))
        ahead += [target_of(page, link)[0].resolve() for link in links]
    assert {page.name for page in read_pages()} == {str(path.relative_to(ROOT)) for path in reached}


@pytest.mark.parametrize("page", DESIGN)
def test_modules_that_the_design_names_are_there(page: Page) -> None:
    for text in inline_code(page):
        if not (_MODULE.fullmatch(text) and text.partition("/")[0] in ROOMS):
            continue
        places = [source / name for source in SOURCES for name in (text, f"{text}.py")]
        assert any(place.exists() for place in places), f"{page.name}: {text}"
