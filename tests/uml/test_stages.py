"""The two stages together: what fails in either fails the whole, and nothing gets lost."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel_features import render_reason
from run import (
    Stage,
    overall_status,
    render_summary,
    second_stage_is_due,
    second_stage_options,
)
from uml.reports import StageReport

_TESTS = Path(__file__).parent.parent
_CASES = "tests/uml/cases/outcomes.py"


def drive(
    *arguments: str, machine: str = "Machine()", python_path: Path = _TESTS
) -> subprocess.CompletedProcess[str]:
    """Run the driver as ``make test`` does, on another kernel if told so."""
    script = f"import sys, run; sys.exit(run.main(sys.argv[1:], run.{machine}))"
    return subprocess.run(
        [sys.executable, "-c", script, "-p", "no:cacheprovider", *arguments],
        cwd=_TESTS,
        env={**os.environ, "PYTHONPATH": str(python_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def report(**fields: Any) -> StageReport:
    empty: dict[str, Any] = {
        "kernel": "6.1",
        "is_second": False,
        "ran": 0,
        "featured": 0,
        "lacking": 0,
        "outcomes": {},
        "skipped": {},
        "failures": (),
        "deferred": (),
        "paths": (),
        "is_stopped": False,
    }
    return StageReport(**empty | fields)


def stage(status: int = 0, lost: int = 0, **fields: Any) -> Stage:
    return Stage("stage", status, report(**fields), lost, 1.0)


@pytest.mark.root
def test_failure_inside_fails_the_whole() -> None:
    done = drive(_CASES)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "Failed: on purpose" in done.stdout
    assert "0 on this kernel, 2 under User Mode Linux, 1 in neither" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"


def test_kernel_that_cannot_boot_fails_the_whole_with_its_log() -> None:
    done = drive(_CASES, machine="Machine(memory_mib=8)")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "Too few physical memory" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 3 failed, 0 skipped"


def test_second_stage_that_cannot_begin_fails_every_test_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "only_here.py").touch()  # below /tmp, which is another one in there
    done = drive(_CASES, "-k", "passes", "-p", "only_here", python_path=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert "User Mode Linux: exit status 4 before its end, 1 tests lost" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_marker_that_names_no_known_feature_is_refused(tmp_path: Path) -> None:
    case = tmp_path / "test_case.py"
    case.write_text(
        "import pytest\n\n\n@pytest.mark.kernel('warp drive')\ndef test_it() -> None:\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "kernel_features", case],
        cwd=_TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "warp drive" in done.stderr


@pytest.mark.parametrize(
    ("stages", "status"),
    [
        pytest.param([stage()], 0, id="all well"),
        pytest.param([stage(), stage()], 0, id="both well"),
        pytest.param([stage(1), stage()], 1, id="native fails"),
        pytest.param([stage(), stage(1)], 1, id="second fails"),
        pytest.param([stage(5), stage()], 0, id="all tests in the second"),
        pytest.param([stage(5)], 5, id="no test at all"),
        pytest.param([stage(0), stage(0, lost=1)], 1, id="a test got lost"),
        pytest.param([stage(2)], 2, id="interrupted"),
        pytest.param([stage(1), stage(3)], 1, id="both fail"),
        pytest.param([stage(), stage(2, lost=1)], 2, id="second interrupted"),
    ],
)
def test_overall_status(stages: list[Stage], status: int) -> None:
    assert overall_status(stages) == status


@pytest.mark.parametrize(
    ("native", "is_due"),
    [
        pytest.param(stage(), False, id="nothing left out"),
        pytest.param(stage(deferred=("a",)), True, id="tests left out"),
        pytest.param(stage(1, deferred=("a",)), True, id="native failed"),
        pytest.param(stage(5, deferred=("a",)), True, id="all left out"),
        pytest.param(stage(1, deferred=("a",), is_stopped=True), False, id="-x"),
        pytest.param(stage(2, deferred=("a",)), False, id="interrupted"),
        pytest.param(Stage("stage", 4, None, 0, 1.0), False, id="wrong call"),
    ],
)
def test_second_stage_is_due(native: Stage, *, is_due: bool) -> None:
    assert second_stage_is_due(native) is is_due


@pytest.mark.parametrize(
    ("kernel_stage", "reason"),
    [
        pytest.param(
            "single",
            "this kernel has no nft_inet (No); `make test` tries User Mode Linux",
            id="one",
        ),
        pytest.param(
            "uml",
            "no kernel here with all of vlan, nft_inet; User Mode Linux lacks nft_inet (No)",
            id="two",
        ),
    ],
)
def test_reason_does_not_claim_what_only_both_kernels_together_have(
    kernel_stage: str, reason: str
) -> None:
    assert render_reason(kernel_stage, ["vlan", "nft_inet"], {"nft_inet": "No"}) == reason


def test_options_go_to_both_stages_and_paths_to_the_first() -> None:
    arguments = ["tests/unit", "-k", "vlan", "-x", "@chosen"]
    assert second_stage_options(arguments, ["tests/unit"]) == ["-k", "vlan", "-x"]


def test_summary_counts_both_stages_and_tells_each_reason_once() -> None:
    native = stage(
        outcomes={"passed": 7, "skipped": 1, "deselected": 4, "error": 1},
        skipped={"needs root": 1},
        deferred=("a", "b", "c", "d"),
        featured=2,
    )
    second = stage(
        is_second=True,
        lost=1,
        outcomes={"passed": 1, "skipped": 2},
        skipped={"needs root": 2},
        featured=1,
    )
    assert render_summary([native, second])[2:] == [
        "stage (Linux 6.1): 1 error, 7 passed, 1 skipped, in 1 s",
        "stage (Linux 6.1): 1 passed, 2 skipped, 1 lost, in 1 s",
        "tests of kernel features: 2 on this kernel, 1 under User Mode Linux, 0 in neither",
        "skipped 3: needs root",
        "8 passed, 2 failed, 3 skipped",
    ]


def test_summary_of_a_first_stage_that_stopped_tells_what_did_not_run() -> None:
    native = stage(1, deferred=("a", "b"), is_stopped=True)
    assert "2 not run, because the first stage ended early" in render_summary([native])[3]
