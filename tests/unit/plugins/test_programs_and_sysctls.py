"""Programs that plugins run, and the kernel parameters that they read and write."""

import os
from pathlib import Path

import pytest

from podway.plugins.programs import find_program, run_program
from podway.plugins.sysctls import read_sysctl, write_sysctl


def test_sysctls_stay_below_proc_sys() -> None:
    assert read_sysctl("kernel/ostype") == "Linux"
    for path in ("../version", "net//ipv4", "net/./ipv4", "", "/etc/passwd", "kernel/ostype\0"):
        with pytest.raises(ValueError, match="no path"):
            read_sysctl(path)
        with pytest.raises(ValueError, match="no path"):
            write_sysctl(path, "1")


def test_programs_are_found_and_run(tmp_path: Path) -> None:
    assert find_program("nonesuch") is None
    assert find_program("sh", "/nonexistent:relative:/bin") == "/bin/sh"
    (tmp_path / "sh").mkdir()
    assert find_program("sh", str(tmp_path)) is None, "a directory is no program"
    shell = "/bin/sh"
    outcome = run_program(
        [shell, "-c", "cat; echo $WORD; echo no >&2; exit 3"], b"in", {"WORD": "w"}
    )
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, b"inw\n", b"no\n")
    assert outcome.complaint == "no"
    assert run_program([shell, "-c", "kill -9 $$"]).code == -9
    large = os.urandom(1 << 20)
    assert run_program(["/bin/cat"], large).stdout == large, "more than a pipe holds"
    with pytest.raises(FileNotFoundError):
        run_program([str(tmp_path / "nonesuch")])
