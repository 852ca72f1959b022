"""The file that a runtime executes for a plugin: a few lines that lead to its module.

In: a plugin of the registry, an interpreter, the place of podway. Out: the text of the file. Called
by `install`. Flags: ``-I`` keeps PYTHON* variables and the working directory out, ``-S`` leaves
site-packages unread (2.6 ms). Podway's place is appended, so that no module there can stand before
one of Python's own; `quick_imports` is loaded from where it is, without a search (0.3 ms). The
garbage collector is off: it would look through 60 modules being loaded (1 ms), and what it could
free the process's end frees; a daemon switches it on. Why these are scripts and not something
faster: `podway.plugins.podway`.
"""

import os
import sys
from pathlib import Path
from typing import Final

from podway import __version__
from podway.errors import ConfigError
from podway.plugins.registry import Plugin

# execve(2): BINPRM_BUF_SIZE, less "#!", the flags, the line feed and the closing zero byte.
MAX_INTERPRETER_BYTES: Final = 256 - len("#! -IS\n\0")


def render_executable(plugin: Plugin, interpreter: str, package_root: str) -> bytes:
    """Return the executable of *plugin*.

    Args:
        plugin: which.
        interpreter: absolute path of Python.
        package_root: the directory in which ``podway`` is.

    Raises:
        ConfigError: the kernel would not run it with this interpreter.
    """
    if not _fits_shebang(interpreter):
        rule = f"must be an absolute path without blanks, of at most {MAX_INTERPRETER_BYTES} bytes"
        raise ConfigError("interpreter", interpreter, rule)
    quick_imports = f"{package_root.rstrip('/')}/podway/plugins/quick_imports.py"
    return (
        f"#!{interpreter} -IS\n"
        f"# CNI plugin {plugin.name} of podway {__version__}, written by 'podway cni install'.\n"
        "import gc\n"
        "import sys\n"
        "from _frozen_importlib_external import SourceFileLoader\n\n"
        "gc.disable()\n"
        f"sys.path.append({package_root!a})\n"
        "name = 'podway.plugins.quick_imports'\n"
        f"loader = SourceFileLoader(name, {quick_imports!a})\n"
        "quick_imports = sys.modules[name] = type(sys)(name)\n"
        f"quick_imports.__file__ = {quick_imports!a}\n"
        "exec(loader.get_code(name), quick_imports.__dict__)\n"
        "quick_imports.install()\n"
        f"from {plugin.module} import main\n\n"
        "main()\n"
    ).encode()


def base_interpreter() -> str:
    """Return the Python that runs this; in a virtual environment the one that it stands on.

    An executable needs nothing from a virtual environment but podway, whose place it knows.
    """
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def package_directory() -> str:
    """Return the directory in which the package ``podway`` is that runs this."""
    return str(Path(__file__).resolve().parents[2])


def check_interpreter(path: Path) -> None:
    """Refuse an interpreter that could not be run: a runtime would name the plugin, not it.

    Raises:
        ConfigError: it is none.
    """
    if not os.access(path, os.X_OK) or not path.is_file():
        raise ConfigError("interpreter", str(path), "must be an executable file")


def _fits_shebang(interpreter: str) -> bool:
    plain = interpreter.isprintable() and " " not in interpreter
    return (
        plain and interpreter.startswith("/") and len(interpreter.encode()) <= MAX_INTERPRETER_BYTES
    )
