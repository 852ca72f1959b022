"""The file of compiled modules: what is read out of it, and what is left to Python."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podway import __version__
from podway.plugins.bundles import PARTS, compute_parts, make_bundle
from podway.plugins.executables import base_interpreter, package_directory
from podway.plugins.install import install

PYTHON = base_interpreter()
# Prints which modules came out of the bundle, and the descriptors that are open.
SCRIPT = """
import sys, posix
sys.path.append({root!r})
from podway.plugins.quick_imports import install, remove
install()
import podway.plugins.undo, podway.plugins.macs
{more}
modules = [podway.plugins.undo, podway.plugins.macs]
print(*[module.__name__ for module in modules if module.__spec__ is None])
print(*[fd for fd in posix.listdir('/proc/self/fd') if 'bundle' in read_link(fd)])
"""
LINK = """
def read_link(fd):
    try:
        return posix.readlink('/proc/self/fd/' + fd)
    except OSError:
        return ''
"""
BOTH = ["podway.plugins.undo", "podway.plugins.macs"]


def test_what_begins_parts_exists() -> None:
    for name in (name for names in PARTS for name in names):
        assert Path(package_directory(), *name.split(".")).with_suffix(".py").is_file(), name


@pytest.mark.parametrize(
    ("begins", "parts"),
    [
        pytest.param([], [("a",), ("b",), ("c",), ("d",)], id="none"),
        pytest.param([["b"]], [("b", "c"), ("a",), ("d",)], id="what it needs"),
        pytest.param([["a"], ["d"]], [("a", "b", "c"), ("d",)], id="what no part before has"),
        pytest.param([["d", "b"], ["x"]], [("b", "c", "d"), (), ("a",)], id="two; unknown"),
    ],
)
def test_parts(begins: list[list[str]], parts: list[tuple[str, ...]]) -> None:
    needs = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["c"]}
    assert compute_parts(needs, begins) == parts


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with podway and its bundle in it."""
    root = tmp_path_factory.mktemp("root")
    source = Path(package_directory(), "podway")
    shutil.copytree(source, root / "podway", ignore=shutil.ignore_patterns("__pycache__"))
    assert make_bundle(PYTHON, str(root)) == ""
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """Return a copy, with the same times."""
    shutil.copytree(original / "podway", tmp_path / "podway", copy_function=shutil.copy2)
    return tmp_path


def bundle_in(root: Path) -> Path:
    (path,) = (root / "podway" / "plugins" / "__pycache__").glob("*.bundle")
    return path


def loaded(root: Path, more: str = "", **told: object) -> tuple[list[str], list[int]]:
    """Return which modules come out of the bundle in *root*, and its descriptors."""
    script = LINK + SCRIPT.format(root=str(root), more=more)
    done = subprocess.run(
        [PYTHON, "-IS", "-c", script], capture_output=True, text=True, check=False, **told  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    modules, descriptors = done.stdout.split("\n")[:2]
    return modules.split(), [int(each) for each in descriptors.split()]


def test_modules_come_out_of_the_bundle(root: Path) -> None:
    modules, descriptors = loaded(root)
    assert modules == BOTH
    assert len(descriptors) == 1
    assert descriptors[0] > 2
    assert stat.S_IMODE(bundle_in(root).stat().st_mode) == 0o644


def test_a_daemon_keeps_nothing_of_it(root: Path) -> None:
    assert loaded(root, more="remove()") == (BOTH, [])


def test_a_program_that_is_started_does_not_have_it(root: Path) -> None:
    more = "import os; os.execv('/bin/sh', ['sh', '-c', 'ls -l /proc/self/fd | grep -c bundle'])"
    script = LINK + SCRIPT.format(root=str(root), more=more)
    done = subprocess.run(
        [PYTHON, "-IS", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "0\n", done


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1, 2)], ids=str)
def test_standard_descriptors_that_are_closed_stay_so(closed: tuple[int, ...], root: Path) -> None:
    """Whatever is opened: to read and to write 0, 1 and 2 is refused as before (EBADF)."""
    script = f"""
import sys, posix
sys.path.append({str(root)!r})
from podway.plugins.quick_imports import install
install()
answers = []
opened = posix.open('/dev/null', posix.O_RDWR)
for fd in {closed!r}:
    for try_it in (lambda: posix.read(fd, 1), lambda: posix.write(fd, b'x')):
        try:
            try_it()
            posix._exit(9)
        except OSError as error:
            if error.errno != 9:
                posix._exit(8)
posix._exit(0 if opened > 2 else 7)
"""
    redirections = " ".join(f"{fd}<&-" for fd in closed)
    argv = ["/bin/sh", "-c", f'exec "$0" -IS -c "$1" {redirections}', PYTHON, script]
    assert subprocess.run(argv, check=False).returncode == 0


def damage_nothing_there(path: Path) -> None:
    path.unlink()


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_other_python(path: Path) -> None:
    path.write_bytes(b"\0\0\r\n" + path.read_bytes()[4:])


def damage_index_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def damage_code_cut(path: Path) -> None:
    size = int.from_bytes(path.read_bytes()[4:8], "little")
    path.write_bytes(path.read_bytes()[: size + 20])


def damage_code_of_zeros(path: Path) -> None:
    data = path.read_bytes()
    size = int.from_bytes(data[4:8], "little")
    path.write_bytes(data[: size + 8] + bytes(len(data) - size - 8))


def damage_other_version(path: Path) -> None:
    """Of an older podway, on a file system on which all files bear the same time."""
    source = path.parents[2] / "__init__.py"
    status, text = source.stat(), source.read_text(encoding="utf-8")
    source.write_text(text.replace(__version__, __version__[:-1] + "9"), encoding="utf-8")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__[7:])
def test_a_bundle_that_is_no_use_is_passed_over(damage: Callable[[Path], None], root: Path) -> None:
    damage(bundle_in(root))
    assert loaded(root)[0] == []


def test_a_source_that_changed_is_loaded_itself(root: Path) -> None:
    source = root / "podway" / "plugins" / "undo.py"
    status = source.stat()
    with source.open("a", encoding="utf-8") as stream:
        stream.write("\nCHANGED = True\n")
    more = "assert podway.plugins.undo.CHANGED"
    assert loaded(root, more)[0] == BOTH[1:]
    # The same second and size: only the fraction of the time differs.
    source.write_bytes(source.read_bytes().removesuffix(b"\nCHANGED = True\n"))
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert loaded(root)[0] == BOTH[1:]
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert loaded(root)[0] == BOTH


def test_where_none_can_be_written_the_installation_says_so(root: Path, tmp_path: Path) -> None:
    bundle_in(root).unlink()
    cache = root / "podway" / "plugins" / "__pycache__"
    shutil.rmtree(cache)
    cache.write_text("in the way", encoding="utf-8")
    target = tmp_path / "bin"
    target.mkdir()
    report = install(target, package_root=str(root))
    assert "NotADirectoryError" in report.slow_because or "FileExistsError" in report.slow_because
    assert report.slow_because in report.lines()[-1]
    environment = {"CNI_COMMAND": "VERSION"}
    done = subprocess.run([target / "bridge"], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_several_installations_at_once_leave_a_whole_one(root: Path) -> None:
    bundle_in(root).unlink()
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: make_bundle(PYTHON, str(root)), range(4))) == {""}
    assert [each.name for each in bundle_in(root).parent.iterdir() if "tmp" in each.name] == []
    assert loaded(root)[0] == BOTH
