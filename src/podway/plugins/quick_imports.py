"""Imports of podway's own modules, in less time than Python takes for them.

In: import statements. Out: modules. Switched on by executables (`executables`) before anything else
is imported. A call of ``bridge`` loads 60 modules; for each of them `importlib` makes a
specification, asks three finders and five file names, opens the file as a stream with a check for
a terminal, and reads it twice. Here it is: look at the source's time and size, read the code out of
one file that holds all (`bundles`), run it. Of 7 ms that saves 2.5 (``bench/plugin_start.py``).

Code is valid by Python's own rule: the magic number of its version, and time and size of the source
(PEP 552). Whatever is not as expected is left to Python: a module of somebody else's, a bundle
that is missing or stale.

Not for several threads: a daemon that starts any calls `remove` first.
"""

import builtins
import posix
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import loads
from sys import implementation, modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType
    from typing import Final

_OURS: "Final" = "podway."
_READ: "Final" = posix.O_RDONLY | posix.O_CLOEXEC
_MASK: "Final" = 0xFFFFFFFF
_Module = type(posix)
_usual = builtins.__import__
# Of the bundle: its descriptor, where code begins in it, and where each module's is.
_bundle = -1
_start = 0
_places: "dict[str, tuple[str, int, int, bytes]]" = {}
_PACKAGE: "Final" = "/__init__.py"
_root = __file__.removesuffix("podway/plugins/quick_imports.py")


def install() -> None:
    """Load podway's modules this way from now on, if there is a bundle of this Python's."""
    global _bundle, _places, _start  # noqa: PLW0603 - one per process
    try:
        _bundle = posix.open(bundle_path(__file__.rpartition("/")[0]), _READ)
    except OSError:
        return
    head = posix.read(_bundle, 8)
    if head[:4] == MAGIC_NUMBER:
        size = int.from_bytes(head[4:], "little")
        _places = loads(posix.read(_bundle, size))  # noqa: S302 - as importlib does
        _start = 8 + size
        builtins.__import__ = _import


def remove() -> None:
    """Load everything as Python does from now on."""
    builtins.__import__ = _usual


def bundle_path(directory: str) -> str:
    """Return where the bundle of this Python is.

    Args:
        directory: of the package ``podway.plugins``.
    """
    return f"{directory}/__pycache__/modules.{implementation.cache_tag}.bundle"


def stamp_of(status: posix.stat_result) -> bytes:
    """Return time and size of a source as a bundle notes them."""
    time_s, size = int(status.st_mtime) & _MASK, status.st_size & _MASK
    return time_s.to_bytes(4, "little") + size.to_bytes(4, "little")


def _import(
    name: str,
    globals: "Mapping[str, object] | None" = None,  # noqa: A002 - as the built-in names them
    locals: "Mapping[str, object] | None" = None,  # noqa: A002
    fromlist: "Sequence[str] | None" = (),
    level: int = 0,
) -> "ModuleType":
    """Do what an import statement asks (builtins.__import__)."""
    if level or not name.startswith(_OURS):
        return _usual(name, globals, locals, fromlist or (), level)
    module = modules.get(name) or _load(name)
    # ``from package import module``: the names may be modules yet to be loaded.
    if module is None or not fromlist or "__path__" in module.__dict__:
        return _usual(name, globals, locals, fromlist or (), level)
    return module


def _load(name: str) -> "ModuleType | None":
    """Load a module out of the bundle; None if Python should see to it."""
    place = _places.get(name)
    if place is None:
        return None
    file, offset, size, stamp = place
    source = _root + file
    try:
        if stamp_of(posix.stat(source)) != stamp:
            return None
    except OSError:
        return None
    package, _, leaf = name.rpartition(".")
    parent = modules.get(package) or _load(package) or _usual(package, fromlist=("__path__",))
    module = modules[name] = _Module(name)
    module.__file__ = source
    module.__package__ = package
    if file.endswith(_PACKAGE):
        module.__package__ = name
        module.__path__ = [source.removesuffix(_PACKAGE)]
    try:
        code = posix.pread(_bundle, size, _start + offset)
        exec(loads(code), module.__dict__)  # noqa: S102, S302 - as importlib does
    except BaseException:
        del modules[name]
        raise
    setattr(parent, leaf, module)
    return module
