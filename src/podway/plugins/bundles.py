"""All modules that executables may load, compiled into one file beside them.

In: podway's sources. Out: ``podway/plugins/__pycache__/modules.<Python>.bundle``, which
`quick_imports` reads: a call loads 60 modules, and to open 60 files costs more than to read them.
Written by `install`, by the interpreter that will run the executables. ::

    Python's magic number (4 bytes)  length of the index (4, little endian)  index  code  code ...

The index is (podway's version, modules), with modules a dict: name -> (file, offset, length, (time
in ns, size) of the file). Docstrings and the columns of tracebacks are left out (``-OO -X
no_debug_ranges``): less to read.

It is a cache, in the directory where Python keeps its own, and as safe as those: who may write it
may write podway's sources as well. Each module in it bears time and size of its source, and
whatever does not fit is passed over. It is written aside and renamed, so several installations at
once each leave a whole one, and a call that has the old one open goes on with that. Where the
directory cannot be written, calls take longer, and the installation says so.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from marshal import dumps
from pathlib import Path
from typing import Final

from podway import __version__
from podway.plugins.quick_imports import bundle_path, stamp_of

PACKAGES: Final = ("cni", "netlink", "plugins")
_FILE_MODE: Final = 0o644


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
    command = [interpreter, "-ISOO", "-X", "no_debug_ranges", "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def write_bundle() -> None:
    """Compile the modules of this package, and write them into its bundle."""
    package = Path(__file__).resolve().parents[1]
    sources = [package / "errors.py"]
    for each in PACKAGES:
        sources += sorted(package.joinpath(each).glob("*.py"))
    content = compile_bundle(package.parent, sources)
    _replace(Path(bundle_path(str(package / "plugins"))), content)


def compile_bundle(root: Path, sources: Iterable[Path]) -> bytes:
    """Return the content of a bundle of *sources*, which are somewhere below *root*."""
    codes = b""
    places: dict[str, tuple[str, int, int, tuple[int, int]]] = {}
    for source in sources:
        file = source.relative_to(root)
        parts = file.parent.parts if file.stem == "__init__" else file.with_suffix("").parts
        # Looked at first: should somebody write the source meanwhile, the stamp does not fit.
        stamp = stamp_of(source.stat())
        code = dumps(compile(source.read_bytes(), str(source), "exec", dont_inherit=True))
        places[".".join(parts)] = (str(file), len(codes), len(code), stamp)
        codes += code
    index = dumps((__version__, places))
    return b"".join((MAGIC_NUMBER, len(index).to_bytes(4, "little"), index, codes))


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
