"""User Mode Linux as a machine: what goes in and out, and that nothing of it outlives a failure.

The kernels are Debian's, and small scripts in its place for what Debian's does not do on demand.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from uml.machine import Console, Machine, UmlError, render_command, run_under_uml

_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_STALLED = Machine(boot_silence_s=0.2)


def run(argv: list[str], machine: Machine, shared: Path | None = None) -> tuple[int, bytes]:
    """Run a command in there and return its status and what was shown."""
    shown: list[bytes] = []
    status = run_under_uml(
        argv,
        shared=[shared] if shared else [],
        environment=_ENVIRONMENT,
        show=shown.append,
        machine=machine,
    )
    return status, b"".join(shown)


@pytest.fixture
def make_kernel(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that makes a program to boot out of a shell script.

    The program writes the number of its process group into ``group``.
    """

    def make(script: str) -> str:
        path = tmp_path / "kernel"
        path.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/group\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def running_in_group(group: int) -> list[int]:
    """Return the processes of a group that have not ended (those nobody has waited for have)."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _parent, of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of) == group and state not in {"Z", "X"}:
            found.append(int(entry.name))
    return found


def assert_group_ends(group: int) -> None:
    """SIGKILL has been sent: all end as soon as they are scheduled, with no limit on when."""
    while running_in_group(group):
        time.sleep(0.01)


def test_command_runs_and_its_status_and_files_come_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A checkout under /tmp is not there inside, since it is not among what is shared here.
    monkeypatch.chdir(tmp_path)
    witness = Path("/etc") / f"podway-{tmp_path.name}-{os.getpid()}"
    script = (
        f"touch {witness} && test -e {witness} && echo written >{tmp_path}/file; "
        "echo shown; uname -r; exit 7"
    )
    status, shown = run(["sh", "-c", script], Machine(), tmp_path)
    assert status == 7
    words = shown.decode().split("\n")
    assert words[0] == "shown"
    assert words[1] != os.uname().release
    assert (tmp_path / "file").read_text() == "written\n"
    assert not witness.exists()


def test_machine_that_hangs_is_ended() -> None:
    with pytest.raises(UmlError, match="printed nothing for 1 s") as caught:
        run(["sh", "-c", "echo begun; sleep 1000"], Machine(silence_s=1))
    assert "Linux version" in caught.value.log


def test_kernel_that_cannot_boot_says_why() -> None:
    with pytest.raises(UmlError, match="before the command had ended") as caught:
        run(["true"], Machine(memory_mib=8))
    assert "physical memory" in caught.value.log


def test_kernel_that_is_not_installed_is_named() -> None:
    with pytest.raises(UmlError, match="apt-get install user-mode-linux"):
        run(["true"], Machine(kernel="/nonexistent/linux.uml"))


def test_stalled_boot_is_ended_with_all_its_processes(
    tmp_path: Path, make_kernel: Callable[[str], str]
) -> None:
    kernel = make_kernel("sleep 1000 & echo booting; sleep 1000")
    with pytest.raises(UmlError, match=r"printed nothing for 0\.2 s") as caught:
        run(["true"], Machine(kernel=kernel, boot_silence_s=_STALLED.boot_silence_s))
    assert caught.value.log == "booting\n"
    assert_group_ends(int((tmp_path / "group").read_text()))


def test_processes_that_outlive_the_kernel_are_ended(
    tmp_path: Path, make_kernel: Callable[[str], str]
) -> None:
    kernel = make_kernel("sleep 1000 & echo panic; exit 1")
    with pytest.raises(UmlError, match="before the command had ended") as caught:
        run(["true"], Machine(kernel=kernel))
    assert caught.value.log == "panic\n"
    assert_group_ends(int((tmp_path / "group").read_text()))


def test_interrupted_run_leaves_no_process(
    tmp_path: Path, make_kernel: Callable[[str], str]
) -> None:
    def interrupt(_chunk: bytes) -> None:
        raise KeyboardInterrupt

    kernel = make_kernel("echo begun; sleep 1000")
    with pytest.raises(KeyboardInterrupt):
        run_under_uml(
            ["true"], shared=[], environment={}, show=interrupt, machine=Machine(kernel=kernel)
        )
    assert_group_ends(int((tmp_path / "group").read_text()))


@pytest.mark.parametrize(
    ("chunks", "text", "log"),
    [
        pytest.param([b"boot"], b"", b"boot", id="never up"),
        pytest.param([b"boot\x02", b"a", b"b\x03off"], b"ab", b"bootoff", id="marks at the edges"),
        pytest.param([b"boot\x02ab\x03off"], b"ab", b"bootoff", id="all at once"),
        pytest.param([b"\x02", b"a"], b"a", b"", id="still running"),
        pytest.param([b"\x02a\x03", b"b\x02c\x03"], b"a", b"b\x02c\x03", id="marks after the end"),
    ],
)
def test_console(chunks: list[bytes], text: bytes, log: bytes) -> None:
    console = Console()
    assert b"".join(console.feed(chunk) for chunk in chunks) == text
    assert console.log == log


def test_command_is_quoted() -> None:
    script = render_command(["echo", "it's"], Path("/a b"), {"NAME": "$x"})
    assert script == "cd '/a b'\nexec env -i 'NAME=$x' echo 'it'\"'\"'s'\n"
