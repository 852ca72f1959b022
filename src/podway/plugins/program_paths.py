"""Where programs are.

In: a name. Out: a path, or None. Called by whoever starts a program, or only asks whether it is
there.
"""

import posix
from errno import EACCES, ENOENT

# Where runtimes without a PATH have them (systemd units have one, some tests do not).
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_program(name: str, search_path: str = "") -> str | None:
    """Return the path of executable *name* in *search_path* (default: PATH); None without one.

    Args:
        name: a file name without slash.
        search_path: directories with colons between them.
    """
    for directory in (search_path or _search_path()).split(":"):
        path = f"{directory}/{name}"
        # Relative directories would depend on where the runtime was started.
        if directory.startswith("/") and posix.access(path, posix.X_OK) and _is_file(path):
            return path
    return None


def _search_path() -> str:
    told = posix.environ.get(b"PATH", b"").decode(errors="surrogateescape")
    return f"{told}:{USUAL_PATH}" if told else USUAL_PATH


def _is_file(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o100000
    except OSError as error:
        if error.errno in {ENOENT, EACCES}:
            return False
        raise
