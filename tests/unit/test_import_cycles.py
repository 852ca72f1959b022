"""No module of podway needs, by whatever way, one that needs it.

Imports inside functions and for types alone count as well, and so do commands that a plugin names
(`OnDemand`): where two modules need each other a reader can begin with neither.
"""

import ast
from collections.abc import Container, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

import pytest

import podway

Edge: TypeAlias = tuple[str, str]

ROOT = Path(podway.__file__).parents[1]
# Imports that close a circle and are meant to: who imports, what, why.
MEANT = {
    ("podway.netlink.attribute_types", "podway.netlink.attributes"): (
        "annotations alone: a set is a table of types, and the type of a nest has a set"
    ),
    ("podway.netlink.refusals", "podway.netlink.socket"): (
        "annotations alone: part of the socket, which loads it when something failed"
    ),
}


def sources_below(root: Path) -> dict[str, str]:
    """Return the text of each module by its name."""
    return {name_of(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def needs_of(source: str, known: frozenset[str]) -> set[str]:
    """Return which of the *known* modules one of that text imports, anywhere in it."""
    needed: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        needed.update(_imported(node, known))
    return needed & known


def _imported(node: ast.AST, known: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (each.name for each in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            for each in names:
                inner = f"{module}.{each.name}"
                yield inner if inner in known else module
        case ast.ImportFrom():
            raise AssertionError("imports in podway are absolute")
        case ast.Call(func=ast.Name(id="OnDemand"), args=[ast.Constant(value=str(place))]):
            yield f"podway.plugins.{place.partition('.')[0]}"
        case _:
            pass


def needs_in(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return what each module needs, itself aside."""
    known = frozenset(sources)
    return {name: needs_of(source, known) - {name} for name, source in sources.items()}


def find_cycle(needs: Mapping[str, set[str]], meant: Container[Edge] = ()) -> list[str]:
    """Return modules of which each is needed by the next, first and last the same; [] for none.

    Args:
        needs: of each module.
        meant: pairs that are passed over: who imports, and what.
    """
    needs = {
        name: {each for each in needed if (name, each) not in meant}
        for name, needed in needs.items()
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def test_no_modules_need_each_other() -> None:
    needs = needs_in(sources_below(ROOT))
    assert {"podway", "podway.plugins.skeleton", "podway.cli.main"} <= needs.keys()
    cycle = find_cycle(needs, MEANT)
    assert not cycle, f"each is imported by the next: {', '.join(cycle)}"


@pytest.mark.parametrize("edge", [pytest.param(edge, id=edge[0]) for edge in MEANT])
def test_what_is_meant_is_still_there(edge: Edge) -> None:
    assert find_cycle(needs_in(sources_below(ROOT)), MEANT.keys() - {edge})


@pytest.mark.parametrize(
    "back",
    [
        pytest.param("import podway.a", id="at the top"),
        pytest.param("def f():\n    from podway.a import x", id="in a function"),
        pytest.param("if TYPE_CHECKING:\n    from podway import a", id="for types alone"),
    ],
)
def test_a_cycle_is_found(back: str) -> None:
    sources = {"podway.a": "from podway.b import y", "podway.b": "import podway.c"}
    assert find_cycle(needs_in({**sources, "podway.c": "import os"})) == []
    cycle = find_cycle(needs_in({**sources, "podway.c": back}))
    assert set(cycle) == {"podway.a", "podway.b", "podway.c"}


def test_a_command_named_by_a_plugin_counts() -> None:
    plugin = "PLUGIN = CniPlugin(add=OnDemand('bridge_add.add'))"
    command = "from podway.plugins.bridge import PLUGIN"
    sources = {"podway.plugins.bridge": plugin, "podway.plugins.bridge_add": command}
    assert set(find_cycle(needs_in(sources))) == set(sources)
