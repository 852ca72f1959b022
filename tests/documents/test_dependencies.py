"""docs/design/dependencies.md argues for what pyproject.toml asks for, and for nothing else."""

import re
import tomllib

from documents.pages import ROOT, read_page

TEXT = read_page("docs/design/dependencies.md").text


def names(requirements: list[str | dict[str, str]]) -> set[str]:
    """Return the names in PEP 508 requirements, as they are compared (PEP 503)."""
    written = [each for each in requirements if isinstance(each, str)]
    return {normal(re.split(r"[<>=~! \[]", each)[0]) for each in written}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def listed(text: str) -> set[str]:
    """Return the libraries in the first column of the first table in *text*."""
    rows = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)[1:]
    cells = [re.sub(r"\([^)]*\)", "", row) for row in rows if set(row) != {"-"}]
    return {normal(name) for cell in cells for name in cell.split(",")}


def test_every_library_is_argued_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    daemons, _, developers = TEXT.partition("For development:")
    wanted = names(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted |= names(extra)
    assert listed(daemons) == wanted
    groups = project["dependency-groups"]
    assert listed(developers) == {name for each in groups.values() for name in names(each)}
