"""Imports of podway's own modules, in less time than Python takes for them.

In: import statements. Out: modules. Run by executables (`executables`) before anything else of
podway's, which `install` then loads. A call of ``bridge`` loads 60 modules; for each of them
`importlib` makes a specification, asks three finders and five file names, opens the file as a
stream with a check for a terminal, and reads it twice. Here it is: look at the source's time and
size, take the code out of one file that holds all (`bundles`), run it. Of 7 ms that saves 4
(``bench/plugin_start.py``).

Code is valid by Python's own rule: the magic number of its version, and time and size of the source
(PEP 552, here to the nanosecond), and what ``podway/__init__.py`` says, the version, for file
systems on which all times are the same. Whatever is not as expected is left to Python: a module of
somebody else's, a bundle that is missing, stale or damaged. Two modules of Python's own that are
shared objects are loaded from where they were when the bundle was made, without a search.

The bundle stays open while the process lasts: to read the parts that are used takes 0.1 ms, to read
it whole 0.46, most of that for memory. Its descriptor, like all that are opened later, is above 2
even where a runtime closed standard input: or the bundle would be read as the configuration.

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
    from types import CodeType, ModuleType
    from typing import Any, Final

_OURS: "Final" = "podway."
_READ: "Final" = posix.O_RDONLY | posix.O_CLOEXEC
# Neither reading nor writing works: EBADF, as on a descriptor that is closed.
_HOLD: "Final" = posix.O_PATH | posix.O_CLOEXEC
_LAST_STANDARD_DESCRIPTOR: "Final" = 2
_Module = type(posix)
_usual = builtins.__import__
# What `marshal.loads` raises for bytes that are no value.
_DAMAGED: "Final" = (EOFError, ValueError, TypeError)
_PACKAGE: "Final" = "/__init__.py"
_VERSION: "Final" = "podway/__init__.py"
_VERSION_BYTES: "Final" = 4096
_root = __file__.removesuffix("podway/plugins/quick_imports.py")
# Of the bundle: its descriptor, where code begins in it, where each part and each module is.
_bundle = -1
_start = 0
_parts: "tuple[tuple[int, int], ...]" = ()
_places: "dict[str, tuple[str, int, int, tuple[int, int]]]" = {}
_extensions: "dict[str, str]" = {}
# Code of the parts that were read.
_codes: "dict[int, tuple[CodeType, ...]]" = {}


def install() -> None:
    """Load podway's modules this way from now on, if there is a bundle of this Python's."""
    global _bundle  # noqa: PLW0603 - one per process
    _hold_standard_descriptors()
    try:
        _bundle = posix.open(bundle_path(_root + "podway/plugins"), _READ)
    except OSError:
        return
    if _read_index():
        builtins.__import__ = _import


def remove() -> None:
    """Load everything as Python does from now on."""
    global _bundle  # noqa: PLW0603 - one per process
    builtins.__import__ = _usual
    if _bundle >= 0:
        posix.close(_bundle)
        _bundle = -1


def _hold_standard_descriptors() -> None:
    """Let nothing that is opened from now on become standard input, output or error.

    Where a runtime closed one of them, something stands in that is as good as closed.
    """
    descriptor = 0
    while descriptor <= _LAST_STANDARD_DESCRIPTOR:
        descriptor = posix.open("/", _HOLD)
    posix.close(descriptor)


def _read_index() -> bool:
    """Read where modules are in the bundle; tell whether it is one for this process."""
    global _start, _parts, _places, _extensions  # noqa: PLW0603 - one per process
    try:
        head = posix.read(_bundle, 8)
        if head[:4] != MAGIC_NUMBER:
            return False
        size = int.from_bytes(head[4:], "little")
        index = loads(posix.read(_bundle, size))  # noqa: S302 - as importlib does
        version, _parts, _places, _extensions = index
        _start = 8 + size
        return bool(version == read_version(_root))
    except (OSError, *_DAMAGED):
        return False


def read_version(root: str) -> bytes:
    """Return what tells one podway from another: the file in which its version stands.

    Args:
        root: directory in which ``podway`` is, with a slash at the end.
    """
    descriptor = posix.open(root + _VERSION, _READ)
    try:
        return posix.read(descriptor, _VERSION_BYTES)
    finally:
        posix.close(descriptor)


def bundle_path(directory: str) -> str:
    """Return where the bundle of this Python is.

    Args:
        directory: of the package ``podway.plugins``.
    """
    return f"{directory}/__pycache__/modules.{implementation.cache_tag}.bundle"


def stamp_of(status: posix.stat_result) -> tuple[int, int]:
    """Return time and size of a source as a bundle notes them."""
    return status.st_mtime_ns, status.st_size


def _import(
    name: str,
    globals: "Mapping[str, object] | None" = None,  # noqa: A002 - as the built-in names them
    locals: "Mapping[str, object] | None" = None,  # noqa: A002
    fromlist: "Sequence[str] | None" = (),
    level: int = 0,
) -> "ModuleType":
    """Do what an import statement asks (builtins.__import__)."""
    if level or not name.startswith(_OURS):
        if name in _extensions and name not in modules:
            _load_extension(name)
        return _usual(name, globals, locals, fromlist or (), level)
    module = modules.get(name) or _load(name)
    if module is None or not fromlist:
        return _usual(name, globals, locals, fromlist or (), level)
    if "__path__" in module.__dict__:
        # ``from package import module``: some of the names may be modules yet to be loaded.
        for each in fromlist:
            full = f"{name}.{each}"
            if each not in module.__dict__ and full not in modules and _load(full) is None:
                return _usual(name, globals, locals, fromlist, level)
    return module


def _load(name: str) -> "ModuleType | None":
    """Load a module out of the bundle; None if Python should see to it."""
    place = _places.get(name)
    if place is None:
        return None
    file, part, position, stamp = place
    source = _root + file
    try:
        if stamp_of(posix.stat(source)) != stamp:
            return None
        code = (_codes.get(part) or _read_part(part))[position]
    except (OSError, *_DAMAGED):
        return None
    package, _, leaf = name.rpartition(".")
    parent = _parent(package)
    module = modules[name] = _Module(name)
    module.__file__ = source
    module.__package__ = package
    if file.endswith(_PACKAGE):
        module.__package__ = name
        module.__path__ = [source.removesuffix(_PACKAGE)]
    try:
        exec(code, module.__dict__)  # noqa: S102 - as importlib does
    except BaseException:
        del modules[name]
        raise
    if parent is not None:
        setattr(parent, leaf, module)
    return module


def _parent(package: str) -> "ModuleType | None":
    """Return the package that a module is in, loaded; None for ``podway`` itself."""
    if not package:
        return None
    return modules.get(package) or _load(package) or _usual(package, fromlist=("__path__",))


def _read_part(part: int) -> "tuple[CodeType, ...]":
    """Return the code of the modules in a part of the bundle."""
    offset, size = _parts[part]
    data = posix.pread(_bundle, size, _start + offset)
    codes: tuple[CodeType, ...] = loads(data)  # noqa: S302 - as importlib does
    _codes[part] = codes
    return codes


def _load_extension(name: str) -> None:
    """Load a shared object of Python's own; if that fails, Python searches for it."""
    import _imp  # noqa: PLC0415 - most calls load one, VERSION none

    specification: Any = _Specification()
    specification.name, specification.origin = name, _extensions[name]
    try:
        module = _imp.create_dynamic(specification)
    except ImportError:
        return
    modules[name] = module
    _imp.exec_dynamic(module)


class _Specification:
    """What `_imp` looks at in a module's specification: its name, and where the object is."""

    name: str
    origin: str
