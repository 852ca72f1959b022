"""All modules that executables may load, compiled into one file beside them.

In: podway's sources. Out: ``podway/plugins/__pycache__/modules.<Python>.bundle``, which
`quick_imports` reads: a call loads 60 modules, and to open 60 files costs more than to read them.
Written by `install`, by the interpreter that will run the executables. ::

    Python's magic number (4 bytes)  length of the index (4, little endian)  index  part  part ...

The index is (content of ``podway/__init__.py``, parts, modules, shared objects), with parts a tuple
of (offset, length), modules a dict: name -> (file, part, position in it, (time in ns, size) of the
file), and shared objects of Python's own a dict: name -> path. A part is a tuple of code, for
modules that are mostly loaded together (`PARTS`): read at once, what they have in common is made
once, which takes 0.6 ms less. Left out is what a plugin never shows: docstrings
(``-OO``), and where in the source something stands, a fifth of all bytes; whoever looks for a
defect deletes the bundle.

It is a cache, in the directory where Python keeps its own, and as safe as those: who may write it
may write podway's sources as well. Each module in it bears time and size of its source, and
whatever does not fit is passed over. It is written aside and renamed, so several installations at
once each leave a whole one, and a call that has the old one open goes on with that. Where the
directory cannot be written, calls take longer, and the installation says so.
"""

import __future__

import ast
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import MAGIC_NUMBER, find_spec
from marshal import dumps
from pathlib import Path
from types import CodeType
from typing import Final

from podway.plugins.quick_imports import bundle_path, read_version, stamp_of

PACKAGES: Final = ("cni", "netlink", "plugins")
# Python's own that executables load, and that are shared objects in some builds.
EXTENSIONS: Final = ("_json", "_ctypes")
_FILE_MODE: Final = 0o644
# What begins each part: these modules, with all that they load themselves and no part before has.
# A module of no part is one by itself.
PARTS: Final = tuple(
    tuple(f"podway.{module}" for module in modules.split())
    for modules in (
        # what every plugin needs
        "plugins.skeleton",
        # devices
        "plugins.namespaces netlink.netns",
        "plugins.loopback",
        "netlink.socket",
        "netlink.links netlink.addresses",
        "netlink.routes plugins.previous plugins.sysctls plugins.undo",
        "plugins.interfaces plugins.delegation",
        # rules
        "netlink.nft_transactions netlink.nft_expressions plugins.iptables_kinds",
        "plugins.masquerade_iptables plugins.masquerade_rules",
        # plugins
        "plugins.host_local plugins.host_local_add",
        "plugins.bridge plugins.bridge_add",
        "plugins.bridge_removal plugins.lingering",
        "plugins.portmap plugins.portmap_add plugins.portmap_iptables plugins.iptables_changes",
        "plugins.bandwidth plugins.bandwidth_add",
    )
)


def make_bundle(interpreter: str, package_root: str) -> str:
    """Let *interpreter* write the bundle; without one everything works, and takes longer.

    Args:
        interpreter: that will run the executables.
        package_root: directory in which ``podway`` is.

    Returns:
        Why there is no bundle, "" if there is.
    """
    script = (
        f"import sys; sys.path.append({package_root!r}); "
        "from podway.plugins.bundles import write_bundle; write_bundle()"
    )
    command = [interpreter, "-ISOO", "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def write_bundle() -> None:
    """Compile the modules of this package, and write them into its bundle."""
    package = Path(__file__).resolve().parents[1]
    sources = [package / "__init__.py", package / "errors.py"]
    for each in PACKAGES:
        sources += sorted(package.joinpath(each).glob("*.py"))
    content = compile_bundle(package.parent, sources)
    _replace(Path(bundle_path(str(package / "plugins"))), content)


@dataclass(frozen=True)
class _Module:
    """A module, read.

    Attributes:
        file: below the root.
        stamp: of the source.
        code: compiled.
        needs: modules that are loaded with it.
    """

    file: str
    stamp: tuple[int, int]
    code: CodeType
    needs: frozenset[str]


def compile_bundle(root: Path, sources: Iterable[Path]) -> bytes:
    """Return the content of a bundle of *sources*, which are somewhere below *root*."""
    modules = {_name_of(source.relative_to(root)): source for source in sources}
    read = {name: _read(root, name, source, modules) for name, source in modules.items()}
    data = b""
    places: dict[str, tuple[str, int, int, tuple[int, int]]] = {}
    extents: list[tuple[int, int]] = []
    for number, names in enumerate(compute_parts({k: v.needs for k, v in read.items()}, PARTS)):
        part = dumps(tuple(read[name].code for name in names))
        extents.append((len(data), len(part)))
        data += part
        for position, name in enumerate(names):
            places[name] = (read[name].file, number, position, read[name].stamp)
    index = dumps((read_version(f"{root}/"), tuple(extents), places, _find_extensions()))
    return b"".join((MAGIC_NUMBER, len(index).to_bytes(4, "little"), index, data))


def compute_parts(
    needs: Mapping[str, Iterable[str]], begins: Iterable[Iterable[str]]
) -> list[tuple[str, ...]]:
    """Return all modules in parts; each module is in one.

    Args:
        needs: module -> modules that are loaded with it.
        begins: modules that each of the first parts begins with; those unknown are passed over.
    """
    parts: list[tuple[str, ...]] = []
    placed: set[str] = set()
    for names in begins:
        reached = {each for name in names if name in needs for each in _closure(name, needs)}
        parts.append(tuple(sorted(reached - placed)))
        placed |= reached
    return [*parts, *((name,) for name in needs if name not in placed)]


def _closure(begin: str, needs: Mapping[str, Iterable[str]]) -> set[str]:
    """Return *begin* and all that is loaded with it."""
    found, todo = {begin}, [begin]
    while todo:
        new = set(needs[todo.pop()]) - found
        found |= new
        todo += new
    return found


def _read(root: Path, name: str, source: Path, modules: Mapping[str, Path]) -> _Module:
    # Looked at first: should somebody write the source meanwhile, the stamp does not fit.
    stamp = stamp_of(source.stat())
    tree = ast.parse(source.read_bytes(), str(source))
    flags = _take_future(tree)
    parents = {name.rpartition(".")[0]} & modules.keys()
    return _Module(
        file=str(source.relative_to(root)),
        stamp=stamp,
        code=_strip(compile(tree, str(source), "exec", flags, dont_inherit=True)),
        needs=frozenset(parents | {name for name in _imported(tree) if name in modules}),
    )


def _strip(code: CodeType) -> CodeType:
    """Return *code* without lines and columns, which only tracebacks show."""
    constants = (_strip(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_consts=tuple(constants), co_linetable=b"", co_qualname=code.co_name)


def _take_future(tree: ast.Module) -> int:
    """Take ``from __future__ import annotations`` out of *tree*; return the compiler's flags.

    At run time the statement would load a module that says nothing to anybody.
    """
    kept = [node for node in tree.body if getattr(node, "module", "") != "__future__"]
    flags = __future__.annotations.compiler_flag if len(kept) < len(tree.body) else 0
    tree.body = kept
    return flags


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a module loads when it is loaded; the type checker's are in an if."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _name_of(file: Path) -> str:
    parts = file.parent.parts if file.stem == "__init__" else file.with_suffix("").parts
    return ".".join(parts)


def _find_extensions() -> dict[str, str]:
    """Return where the shared objects are; some builds of Python have them in the program."""
    specs = {name: find_spec(name) for name in EXTENSIONS}
    return {
        name: spec.origin
        for name, spec in specs.items()
        if spec is not None and spec.has_location and spec.origin
    }


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o755, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), _FILE_MODE)
            stream.flush()
            # Or a machine that stops now may have the new name and nothing in it.
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
