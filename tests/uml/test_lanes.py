"""Lanes side by side: all tests are in one, what each prints is whole, and all end together."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lanes import Lane, Output
from run import ALONE_AT_MOST, LANES, chooses_all

_TESTS = Path(__file__).parent.parent
_CASES = "tests/uml/cases/outcomes.py"


def start(lanes: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start the driver with a lane for each file of *lanes*."""
    made = ", ".join(f"run.Lane({name!r}, ({path!r},))" for name, path in lanes.items())
    script = f"import sys, run; run.LANES = ({made},); "
    script += "sys.exit(run.main(sys.argv[1:], run.Machine()))"
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=_TESTS,
        env={
            **os.environ,
            "PYTHONPATH": str(_TESTS),
            "PYTEST_ADDOPTS": "-p no:cacheprovider -p kernel_features",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def case(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.root
def test_all_lanes_and_the_second_kernel_count_together(tmp_path: Path) -> None:
    well = case(tmp_path / "test_well.py", "def test_one(): pass\ndef test_two(): pass\n")
    ill = case(tmp_path / "test_ill.py", "def test_it(): raise RuntimeError('as it is')\n")
    process = start({"well": well, "ill": ill, "cases": _CASES})
    told, _ = process.communicate()
    lines = told.splitlines()
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, told
    assert lines[-1] == "3 passed, 2 failed, 1 skipped"
    assert "ill     | E   RuntimeError: as it is" in [line.rstrip() for line in lines]
    assert any("Failed: on purpose" in line for line in lines if line.startswith("uml     | "))
    assert "0 on this kernel, 2 under User Mode Linux, 1 in neither" in told


@pytest.mark.parametrize(
    ("state", "status", "last"),
    [
        pytest.param("ran", 0, "2 passed, 0 failed, 0 skipped", id="passes alone"),
        pytest.param("no/where", 1, "1 passed, 1 failed, 0 skipped", id="fails again"),
    ],
)
def test_what_fails_beside_others_is_tried_alone_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, status: int, last: str
) -> None:
    monkeypatch.setenv("PODWAY_TEST_LATE", str(tmp_path / state))
    well = case(tmp_path / "test_well.py", "def test(): pass")
    process = start({"late": "tests/uml/cases/late.py", "well": well})
    told, _ = process.communicate()
    assert process.returncode == status, told
    assert told.splitlines()[-1] == last
    named = "failed beside others, passed alone: tests/uml/cases/late.py::test_late"
    assert (named in told) is (status == 0)


def test_many_failures_are_not_for_want_of_time(tmp_path: Path) -> None:
    lines = [f"def test_{n}(): assert 0" for n in range(ALONE_AT_MOST + 1)]
    process = start({"ill": case(tmp_path / "test_ill.py", "\n".join(lines))})
    told, _ = process.communicate()
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, told
    assert "alone" not in told


def test_ctrl_c_reaches_every_lane_once_and_each_takes_down_what_it_made(tmp_path: Path) -> None:
    lanes = {}
    for name in ("one", "two"):
        text = f"""
            import pytest, time
            from pathlib import Path
            here = Path({str(tmp_path)!r})
            @pytest.fixture
            def thing():
                (here / "{name}").write_text("made")
                yield
                time.sleep(0.2)
                (here / "{name}").write_text("taken down")
            def test_it(thing):
                print("begun", flush=True)
                time.sleep(60)
        """
        lines = [line.removeprefix(" " * 12) for line in text.splitlines()]
        lanes[name] = case(tmp_path / f"test_{name}.py", "\n".join(lines))
    process = start(lanes, "--capture=no")
    assert process.stdout is not None
    begun = 0
    while begun < len(lanes):
        begun += "begun" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, told
    assert {(tmp_path / name).read_text() for name in lanes} == {"taken down"}


def test_lanes_leave_no_test_out() -> None:
    """Every file is below a path of one lane that does not ignore it, and of no other."""
    assert all((_TESTS.parent / path).is_dir() for lane in LANES for path in _paths(lane))
    for file in _TESTS.rglob("test_*.py"):
        name = str(file.relative_to(_TESTS.parent))
        takers = [lane.name for lane in LANES if _takes(lane, name)]
        assert len(takers) == 1, (name, takers)


def _paths(lane: Lane) -> list[str]:
    return [word for word in lane.arguments if not word.startswith("--")]


def _takes(lane: Lane, name: str) -> bool:
    ignored = [
        word.removeprefix("--ignore=") for word in lane.arguments if word.startswith("--ignore=")
    ]
    return _is_below(name, _paths(lane)) and not _is_below(name, ignored)


def _is_below(name: str, directories: list[str]) -> bool:
    return any(name.startswith(f"{directory}/") for directory in directories)


@pytest.mark.parametrize(
    ("arguments", "is_all"),
    [
        pytest.param([], True, id="nothing said"),
        pytest.param(["--durations=9", "--exitfirst"], True, id="long options"),
        pytest.param(["tests/unit"], False, id="a path"),
        pytest.param(["-k", "vlan"], False, id="an expression"),
        pytest.param(["-x"], False, id="a short option"),
        pytest.param(["--pdb"], False, id="a debugger"),
    ],
)
def test_lanes_are_for_all_tests(arguments: list[str], *, is_all: bool) -> None:
    assert chooses_all(arguments) is is_all


def test_output_is_passed_on_by_lines_and_the_account_in_one_piece() -> None:
    out = io.BytesIO()
    output = Output("lab", out)
    output.feed(b"=== test session starts ===\na.py ..")
    output.feed(b". [ 9%]\nb.py F [ 10%]\n\x1b[31m=== FAILURES ===\x1b[0m\nbecause\n")
    passed_on = b"lab     | === test session starts ===\nlab     | a.py ... [ 9%]\n"
    assert out.getvalue() == passed_on + b"lab     | b.py F [ 10%]\n"
    output.feed(b"=== 1 failed in 1.00s ===")
    output.close()
    assert out.getvalue().endswith(b"lab     | because\nlab     | === 1 failed in 1.00s ===\n")
