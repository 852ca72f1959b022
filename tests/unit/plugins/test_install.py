"""Executables and configuration: what is rendered, planned and written."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podway.cni.documents import decode
from podway.cni.errors import CniError
from podway.cni.podway_conf import parse_podway_conf
from podway.cni.requests import parse_request
from podway.errors import ConfigError
from podway.plugins.conflists import CONFLIST_NAME, Conflist, render_conflist
from podway.plugins.executables import (
    MAX_INTERPRETER_BYTES,
    base_interpreter,
    package_directory,
    render_executable,
)
from podway.plugins.install import (
    Action,
    File,
    InstallError,
    Step,
    install,
    plan_install,
)
from podway.plugins.registry import PLUGINS, find_plugins

PODWAY = find_plugins(("podway",))[0]


def actions(steps: tuple[Step, ...]) -> list[tuple[str, Action]]:
    return [(step.file.path.name, step.action) for step in steps]


def test_registry_names_are_unique_and_their_modules_exist() -> None:
    assert len({plugin.name for plugin in PLUGINS}) == len(PLUGINS)
    for plugin in PLUGINS:
        assert plugin.module == f"podway.plugins.{plugin.name.replace('-', '_')}"
        path = Path(package_directory(), *plugin.module.split(".")).with_suffix(".py")
        assert "def main() ->" in path.read_text(encoding="utf-8")


def test_find_plugins() -> None:
    assert find_plugins(()) == PLUGINS
    with pytest.raises(ConfigError) as caught:
        find_plugins(("podway", "nonesuch"))
    assert caught.value.value == "nonesuch"


def test_executable_text() -> None:
    lines = (
        render_executable(PODWAY, "/usr/bin/python3", "/usr/lib/it's here").decode().splitlines()
    )
    assert lines[0] == "#!/usr/bin/python3 -IS"
    assert lines[2:] == [
        "import gc",
        "import sys",
        "from _frozen_importlib_external import SourceFileLoader",
        "",
        "gc.disable()",
        'sys.path.append("/usr/lib/it\'s here")',
        "name = 'podway.plugins.quick_imports'",
        'loader = SourceFileLoader(name, "/usr/lib/it\'s here/podway/plugins/quick_imports.py")',
        "quick_imports = sys.modules[name] = type(sys)(name)",
        'quick_imports.__file__ = "/usr/lib/it\'s here/podway/plugins/quick_imports.py"',
        "exec(loader.get_code(name), quick_imports.__dict__)",
        "quick_imports.install()",
        "from podway.plugins.podway import main",
        "",
        "main()",
    ]


@pytest.mark.parametrize(
    "interpreter",
    [
        pytest.param("", id="empty"),
        pytest.param("python3", id="relative"),
        pytest.param("/opt/my python", id="blank"),
        pytest.param("/opt/python\n", id="line feed"),
        pytest.param("/opt/\udcff", id="not UTF-8"),
        pytest.param("/" + "a" * 249, id="longer than the kernel reads"),
    ],
)
def test_interpreters_that_the_kernel_would_not_run(interpreter: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render_executable(PODWAY, interpreter, "/x")
    assert caught.value.field == "interpreter"


def test_the_longest_interpreter_runs(tmp_path: Path) -> None:
    """The limit is the kernel's: one byte more and it would cut the flags off."""
    room = MAX_INTERPRETER_BYTES
    directory = tmp_path
    while room - len(str(directory)) > 200:
        directory /= "d" * 100
    directory.mkdir(parents=True, exist_ok=True)
    interpreter = directory / ("p" * (room - len(str(directory)) - 1))
    interpreter.symlink_to(base_interpreter())
    install(tmp_path, interpreter=str(interpreter))
    done = subprocess.run(
        [tmp_path / "podway"],
        env={"CNI_COMMAND": "VERSION"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["cniVersion"] == "1.1.0"


def test_conflist_text() -> None:
    conflist = Conflist(directory=Path("/etc/cni/net.d"))
    assert json.loads(render_conflist(conflist)) == {
        "cniVersion": "1.0.0",
        "cniVersions": ["1.0.0", "1.1.0"],
        "name": "podway",
        "plugins": [{"type": "podway", "capabilities": {"ips": True, "mac": True}}],
    }


def test_conflist_options_are_what_the_plugin_reads() -> None:
    conflist = Conflist(
        directory=Path("/d"),
        network="blue",
        attach="routed",
        mtu_bytes=1400,
        agent_socket="/run/blue.sock",
    )
    document = decode(render_conflist(conflist), "conflist")
    entry = {**document["plugins"][0], "cniVersion": "1.0.0", "name": document["name"]}
    variables = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0"}
    request = parse_request(variables, json.dumps(entry).encode())
    conf = parse_podway_conf(request)
    assert request.config.name == "blue"
    assert (conf.attach, conf.mtu_bytes, conf.agent_socket) == ("routed", 1400, "/run/blue.sock")


@pytest.mark.parametrize(
    "conflist",
    [
        pytest.param(Conflist(directory=Path("/d"), network="a b"), id="network"),
        pytest.param(Conflist(directory=Path("/d"), network=""), id="no network"),
        pytest.param(Conflist(directory=Path("/d"), attach="vlan"), id="attach"),
        pytest.param(Conflist(directory=Path("/d"), mtu_bytes=67), id="mtu"),
        pytest.param(Conflist(directory=Path("/d"), agent_socket="a.sock"), id="socket"),
    ],
)
def test_bad_conflists_write_nothing(conflist: Conflist, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, CniError)):
        install(tmp_path, conflist=conflist)
    assert list(tmp_path.iterdir()) == []


ONE = ("podway",)
FILE = File(Path("/bin/a"), b"new", 0o755)
PRECIOUS = File(Path("/etc/a"), b"new", 0o644, precious=True)


@pytest.mark.parametrize(
    ("desired", "found", "action"),
    [
        pytest.param(FILE, None, Action.CREATE, id="missing"),
        pytest.param(FILE, File(FILE.path, b"new", 0o755), Action.KEEP, id="the same"),
        pytest.param(FILE, File(FILE.path, b"old", 0o755), Action.REPLACE, id="another content"),
        pytest.param(FILE, File(FILE.path, b"new", 0o644), Action.REPLACE, id="another mode"),
        pytest.param(PRECIOUS, None, Action.CREATE, id="precious, missing"),
        pytest.param(
            PRECIOUS, File(PRECIOUS.path, b"new", 0o644), Action.KEEP, id="precious, same"
        ),
        pytest.param(PRECIOUS, File(PRECIOUS.path, b"new", 0o600), Action.REPLACE, id="only mode"),
    ],
)
def test_plan(desired: File, found: File | None, action: Action) -> None:
    steps = plan_install([desired], {} if found is None else {found.path: found})
    assert steps == (Step(desired, action),)


def test_a_changed_configuration_is_not_overwritten(tmp_path: Path) -> None:
    conflist = Conflist(directory=tmp_path)
    install(tmp_path, plugins=ONE, conflist=conflist)
    edited = tmp_path / CONFLIST_NAME
    edited.write_text("{}", encoding="utf-8")
    (tmp_path / "podway").unlink()
    with pytest.raises(InstallError) as caught:
        install(tmp_path, plugins=ONE, conflist=conflist)
    assert caught.value.path == edited
    assert edited.read_text(encoding="utf-8") == "{}"
    assert not (tmp_path / "podway").exists(), "refused whole"
    report = install(tmp_path, plugins=ONE, conflist=Conflist(directory=tmp_path, replace=True))
    assert actions(report.steps) == [("podway", Action.CREATE), (CONFLIST_NAME, Action.REPLACE)]


def test_install_creates_then_keeps_then_repairs(tmp_path: Path) -> None:
    binaries, configurations = tmp_path / "bin", tmp_path / "net.d"
    conflist = Conflist(directory=configurations)
    report = install(binaries, plugins=ONE, conflist=conflist, create_directories=True)
    assert report.lines() == (
        f"created {binaries / 'podway'}",
        f"created {configurations / CONFLIST_NAME}",
    )
    assert stat.S_IMODE((binaries / "podway").stat().st_mode) == 0o755
    assert stat.S_IMODE((configurations / CONFLIST_NAME).stat().st_mode) == 0o644
    before = {path: path.stat().st_ino for path in (binaries / "podway", *configurations.iterdir())}
    again = install(binaries, plugins=ONE, conflist=conflist)
    assert [step.action for step in again.steps] == [Action.KEEP, Action.KEEP]
    assert {path: path.stat().st_ino for path in before} == before
    (binaries / "podway").chmod(0o600)
    assert actions(install(binaries, plugins=ONE).steps) == [("podway", Action.REPLACE)]
    assert os.access(binaries / "podway", os.X_OK)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        CONFLIST_NAME,
        "podway",
    ]


def test_a_strict_umask_changes_nothing(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        install(tmp_path / "bin", conflist=Conflist(directory=tmp_path), create_directories=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "bin" / "podway").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / CONFLIST_NAME).stat().st_mode) == 0o644


def make_directory_missing(path: Path) -> Path:
    return path / "none"


def make_directory_a_file(path: Path) -> Path:
    (path / "file").write_bytes(b"")
    return path / "file"


def make_target_a_directory(path: Path) -> Path:
    (path / "podway").mkdir()
    return path


def make_target_a_symlink(path: Path) -> Path:
    (path / "podway").symlink_to("/bin/true")
    return path


@pytest.mark.parametrize(
    ("make", "create"),
    [
        pytest.param(make_directory_missing, False, id="directory missing"),
        pytest.param(make_directory_a_file, False, id="directory is a file"),
        pytest.param(make_directory_a_file, True, id="directory is a file, to be made"),
        pytest.param(make_target_a_directory, False, id="a directory in the way"),
        pytest.param(make_target_a_symlink, False, id="a symlink in the way"),
    ],
)
def test_what_is_in_the_way(make: object, create: bool, tmp_path: Path) -> None:  # noqa: FBT001
    directory = make(tmp_path)  # type: ignore[operator]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InstallError) as caught:
        install(directory, create_directories=create)
    assert caught.value.path in (directory, directory / "podway")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("interpreter", ["/nonexistent/python3", "/etc/passwd", "/tmp"])
def test_interpreters_that_are_none(interpreter: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        install(tmp_path, interpreter=interpreter)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def a_full_disk(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond *size_bytes*: a write beyond is refused (EFBIG)."""
    import resource  # noqa: PLC0415
    import signal  # noqa: PLC0415

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    install(tmp_path, plugins=ONE)
    old = (tmp_path / "podway").read_bytes()
    with a_full_disk(10), pytest.raises(InstallError):
        install(tmp_path, plugins=ONE, package_root="/somewhere/else")
    assert (tmp_path / "podway").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["podway"]
