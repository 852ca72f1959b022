"""Imports of podway's own modules, in less time than Python takes for them.

In: import statements. Out: modules. Switched on by executables (`executables`) before anything else
is imported. A call of ``bridge`` loads 60 modules; for each of them `importlib` makes a
specification, asks three finders and five file names, opens the file as a stream with a check for
a terminal, and reads it twice: in sum 1.5 ms of 7 (``bench/plugin_start.py``). Here it is stat,
open, read, run.

The files are Python's own (``__pycache__/*.pyc``), and valid by Python's own rule: its version's
magic number, and time and size of the source (PEP 3147, PEP 552). Whatever is not as expected is
left to Python: a module of somebody else's, a package, a file that is missing or stale, which
Python then writes anew.

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
_SUFFIX: "Final" = f".{implementation.cache_tag}.pyc"
_READ: "Final" = posix.O_RDONLY | posix.O_CLOEXEC
# Magic number, flags (0: validated by time), time, size; then the code.
_FLAGS: "Final" = bytes(4)
_HEADER_BYTES: "Final" = 16
_MASK: "Final" = 0xFFFFFFFF
_Module = type(posix)
_usual = builtins.__import__


def install() -> None:
    """Load podway's modules this way from now on."""
    builtins.__import__ = _import


def remove() -> None:
    """Load everything as Python does from now on."""
    builtins.__import__ = _usual


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
    if module is None or not fromlist:
        return _usual(name, globals, locals, fromlist or (), level)
    if "__path__" in module.__dict__:
        # ``from package import module``: the names may be modules yet to be loaded.
        return _usual(name, globals, locals, fromlist, level)
    return module


def _load(name: str) -> "ModuleType | None":
    """Load a module from its compiled file; None if Python should see to it."""
    package, _, leaf = name.rpartition(".")
    parent = modules.get(package)
    if parent is None:
        return None
    directory = parent.__path__[0]
    source = f"{directory}/{leaf}.py"
    code = _read(source, f"{directory}/__pycache__/{leaf}{_SUFFIX}")
    if code is None:
        return None
    module = modules[name] = _Module(name)
    module.__file__ = source
    module.__package__ = package
    try:
        exec(loads(code), module.__dict__)  # noqa: S102, S302 - as importlib does
    except BaseException:
        del modules[name]
        raise
    setattr(parent, leaf, module)
    return module


def _read(source: str, compiled: str) -> memoryview | None:
    """Return the code of a module if the compiled file is of this source and this Python."""
    try:
        status = posix.stat(source)
        descriptor = posix.open(compiled, _READ)
    except OSError:
        return None
    try:
        # With its exact size: a larger buffer costs more than the read.
        data = posix.read(descriptor, posix.fstat(descriptor).st_size)
    finally:
        posix.close(descriptor)
    time_s, size = int(status.st_mtime) & _MASK, status.st_size & _MASK
    stamp = time_s.to_bytes(4, "little") + size.to_bytes(4, "little")
    if data[:_HEADER_BYTES] != MAGIC_NUMBER + _FLAGS + stamp:
        return None
    return memoryview(data)[_HEADER_BYTES:]
