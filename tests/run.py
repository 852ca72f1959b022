"""Runs all tests on the kernel that each needs: what ``make test`` calls.

In: pytest's own arguments, which choose tests and options for both stages. Out: an exit status,
and as the last line the numbers of all stages together. First stage: pytest here, leaving out what
this machine's kernel lacks a feature for (``kernel_features``). Second stage, only when something
was left out: one boot of User Mode Linux (``uml/machine``), which runs just those tests.

When all tests are asked for, the first stage is several lanes side by side (``lanes``), and the
second begins beside them as soon as it is known what is left out. When some are chosen, one pytest
runs them here, in the foreground, with a terminal to ask and a debugger that works.

Beside others a test may find a processor so busy that something is late. So the few that fail
there are tried once more, alone: a defect fails again, and what passes then is named at the end.

A second stage that does not come to its end has failed, and so has every test that was left to it.
A run that leaves anything on the machine has failed, too (``left_behind``).
"""

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lanes import Lane, Output, Running, await_choices
from left_behind import left_behind, take_inventory
from uml.machine import Machine, UmlError, run_under_uml
from uml.reports import StageReport, read_report

_OK = pytest.ExitCode.OK
_NO_TESTS = pytest.ExitCode.NO_TESTS_COLLECTED
_ROOT = Path(__file__).parent.parent
# Where more than these fail, it is not for want of time.
ALONE_AT_MOST = 5

# Of about the same length. What only computes keeps a processor busy; labs and namespaces wait.
_PATHS = {
    "labs": ("tests/lab",),
    "plugins": ("tests/netns/plugins",),
    "daemons": (
        "tests/agent",
        "tests/hub",
        "tests/kube_apiserver",
        "tests/netns/clients",
        "tests/netns/plugins/dhcp",
        "tests/netns/plugins/podway",
        "tests/store",
    ),
    "rest": ("tests",),
}


def make_lanes(paths: Mapping[str, Sequence[str]]) -> tuple[Lane, ...]:
    """Return lanes by name; what lies below the paths of two of them is the more exact one's."""
    every = [path for own in paths.values() for path in own]
    return tuple(
        Lane(name, (*own, *(f"--ignore={path}" for path in every if _is_below(path, own))))
        for name, own in paths.items()
    )


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return any(path.startswith(f"{directory}/") for directory in directories)


LANES = make_lanes(_PATHS)


@dataclass(frozen=True, slots=True)
class Stage:
    """What became of one stage.

    Attributes:
        name: how the summary calls it.
        status: pytest's exit status; TESTS_FAILED when the machine did not get that far.
        report: what it told; None when it ended before it could.
        lost: tests that it should have run and did not.
        duration_s: from its start, boot included.
        passed_alone: its tests that failed beside those of other stages, and passed alone.
    """

    name: str
    status: int
    report: StageReport | None
    lost: int
    duration_s: float
    passed_alone: frozenset[str] = frozenset()

    @property
    def failed(self) -> int:
        """How many tests failed for good, those among them that never ran."""
        if self.report is None:
            return self.lost
        late = sum(name in self.passed_alone for name in self.report.failures)
        return self.report.failed - late + self.lost


def main(arguments: Sequence[str], machine: Machine) -> int:
    """Run both stages, print the summary, and return the exit status of the whole."""
    os.chdir(_ROOT)
    run = run_side_by_side if chooses_all(arguments) else run_chosen
    with tempfile.TemporaryDirectory(prefix="podway-stages-") as exchange:
        stages = run(arguments, Path(exchange), machine)
    for line in render_summary(stages):
        print(line, flush=True)  # noqa: T201
    return overall_status(stages)


def chooses_all(arguments: Sequence[str]) -> bool:
    """Tell whether *arguments* choose no tests, and nothing that needs a terminal."""
    return all(word.startswith("--") and not word.startswith("--pdb") for word in arguments)


def run_chosen(arguments: Sequence[str], exchange: Path, machine: Machine) -> list[Stage]:
    """Run one stage after the other."""
    native = run_native(arguments, exchange)
    if not second_stage_is_due(native):
        return [native]
    # Only now: processes that tests fork are to end by SIGTERM as usual.
    signal.signal(signal.SIGTERM, _end)
    assert native.report is not None
    options = second_stage_options(arguments, native.report.paths)
    return [native, run_second(options, native.report.deferred, exchange, machine, _show)]


def run_side_by_side(arguments: Sequence[str], exchange: Path, machine: Machine) -> list[Stage]:
    """Run the lanes of this kernel and the second stage at the same time."""
    signal.signal(signal.SIGTERM, _end)
    options = [*arguments, "--kernel-stage=native"]
    lanes = [Running(lane, options, exchange) for lane in LANES]
    second: list[Stage] = []
    try:
        if deferred := await_choices(lanes):
            output = Output("uml", sys.stdout.buffer)
            second.append(run_second(arguments, deferred, exchange, machine, output.feed))
            output.close()
        if not any(stage.status == pytest.ExitCode.INTERRUPTED for stage in second):
            for lane in lanes:
                lane.wait()
    except KeyboardInterrupt:
        print("\ninterrupted: the lanes take down what they made", flush=True)  # noqa: T201
    finally:
        for lane in lanes:
            lane.interrupt()
    stages = [_stage_of(lane) for lane in lanes]
    return try_alone(stages, options, exchange) + second


def try_alone(stages: list[Stage], options: Sequence[str], exchange: Path) -> list[Stage]:
    """Run what failed in *stages* once more, with nothing beside it; return what they are then."""
    failures = {name for stage in stages if stage.report for name in stage.report.failures}
    ended = all(stage.status in {_OK, pytest.ExitCode.TESTS_FAILED} for stage in stages)
    if not ended or not 0 < len(failures) <= ALONE_AT_MOST:
        return stages
    print(f"\n{len(failures)} failed beside others: once more, alone", flush=True)  # noqa: T201
    lane = Running(Lane("alone", tuple(sorted(failures))), options, exchange)
    try:
        lane.wait()
    finally:
        lane.interrupt()
    report = read_report(lane.report)
    passed = failures - set(report.failures) if report and report.ran == len(failures) else ()
    return [replace(stage, passed_alone=frozenset(passed)) for stage in stages]


def _stage_of(lane: Running) -> Stage:
    """Return what became of *lane*, once it has ended."""
    name, status = f"this kernel, {lane.name}", lane.wait()
    return Stage(name, status, read_report(lane.report), 0, lane.duration_s)


def run_native(arguments: Sequence[str], exchange: Path) -> Stage:
    """Run pytest in this process: it then ends on Ctrl-C as pytest does, cleaning up."""
    path = exchange / "native.json"
    started_s = time.monotonic()
    status = pytest.main([*arguments, "--kernel-stage=native", f"--stage-report={path}"])
    return Stage("this kernel", status, read_report(path), 0, time.monotonic() - started_s)


def second_stage_is_due(native: Stage) -> bool:
    """Tell whether tests were left out by a first stage that was not told to stop."""
    return (
        native.status in {_OK, pytest.ExitCode.TESTS_FAILED, _NO_TESTS}
        and native.report is not None
        and bool(native.report.deferred)
        and not native.report.is_stopped
    )


def run_second(
    options: Sequence[str],
    deferred: Sequence[str],
    exchange: Path,
    machine: Machine,
    show: Callable[[bytes], object],
) -> Stage:
    """Run the tests *deferred* under User Mode Linux; *show* is given what that prints."""
    path = exchange / "uml.json"
    chosen = exchange / "tests"
    chosen.write_text("".join(f"{node_id}\n" for node_id in deferred))
    colour = f"--color={'yes' if sys.stdout.isatty() else 'no'}"
    stage = ["--kernel-stage=uml", f"--stage-report={path}", colour]
    count = len(deferred)
    show(f"\nUser Mode Linux boots for {count} tests\n".encode())
    started_s = time.monotonic()
    try:
        status = run_under_uml(
            [sys.executable, "-m", "pytest", f"@{chosen}", *options, *stage],
            shared=[_ROOT, exchange],
            environment=second_stage_environment(),
            show=show,
            machine=machine,
        )
    except UmlError as error:
        show(f"{error.log}\n{error}\nWhat its console said stands above.\n".encode())
        status = int(pytest.ExitCode.TESTS_FAILED)
    except KeyboardInterrupt:
        status = int(pytest.ExitCode.INTERRUPTED)
    report = read_report(path)
    lost = 0 if report and report.is_stopped else count - (report.ran if report else 0)
    return Stage("User Mode Linux", status, report, lost, time.monotonic() - started_s)


def second_stage_options(arguments: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return the arguments that choose no files: the second stage names its tests one by one."""
    return [word for word in arguments if word not in paths and not word.startswith("@")]


def second_stage_environment() -> dict[str, str]:
    """Return this environment as it makes sense in there: /tmp is another, the checkout is not."""
    kept = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    columns = str(os.get_terminal_size().columns) if sys.stdout.isatty() else "80"
    return {"COLUMNS": columns, **kept, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _show(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def render_summary(stages: Sequence[Stage]) -> list[str]:
    """Return the closing lines: each stage, each reason for a skip, and the numbers of all."""
    lines = ["", f"{' on which kernel ':=^80}"]
    lines += [_render_stage(stage) for stage in stages]
    reports = [stage.report for stage in stages if stage.report]
    if len(reports) == len(stages):
        lines.append(_render_features(reports))
    reasons = _sum(report.skipped for report in reports)
    lines += [f"skipped {count}: {reason}" for reason, count in sorted(reasons.items())]
    alone = sorted(_passed_alone(stages))
    lines += [f"failed beside others, passed alone: {name}" for name in alone]
    passed = sum(report.passed for report in reports) + len(alone)
    failed = sum(stage.failed for stage in stages)
    skipped = sum(reasons.values())
    return [*lines, f"{passed} passed, {failed} failed, {skipped} skipped"]


def _passed_alone(stages: Iterable[Stage]) -> set[str]:
    """Return the tests of *stages* that failed beside others only."""
    return {
        name
        for stage in stages
        if stage.report
        for name in stage.report.failures
        if name in stage.passed_alone
    }


def _render_stage(stage: Stage) -> str:
    if stage.report is None:
        return f"{stage.name}: exit status {stage.status} before its end, {stage.lost} tests lost"
    told = sorted((key, count) for key, count in stage.report.outcomes.items() if count)
    numbers = ", ".join(f"{count} {key}" for key, count in told if key != "deselected")
    lost = f", {stage.lost} lost" if stage.lost else ""
    return (
        f"{stage.name} (Linux {stage.report.kernel}): "
        f"{numbers or 'no tests'}{lost}, in {stage.duration_s:.0f} s"
    )


def _render_features(reports: Sequence[StageReport]) -> str:
    """Say where the tests went that need kernel features."""
    deferred = sum(len(report.deferred) for report in reports)
    second = [report for report in reports if report.is_second]
    told = f"{sum(report.featured for report in reports if not report.is_second)} on this kernel, "
    if second:
        told += f"{second[0].featured} under User Mode Linux, {second[0].lacking} in neither"
    elif deferred:
        told += f"{deferred} not run, because the first stage ended early"
    else:
        told += "none needed another"
    return f"tests of kernel features: {told}"


def _sum(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def overall_status(stages: Sequence[Stage]) -> int:
    """Return the first status that is a failure; "no tests" counts only when it is everybody's."""
    statuses = [int(_OK) if _has_passed_alone(stage) else int(stage.status) for stage in stages]
    if all(status == _NO_TESTS for status in statuses):
        return int(_NO_TESTS)
    lost = pytest.ExitCode.TESTS_FAILED if any(stage.lost for stage in stages) else _OK
    return next((status for status in statuses if status not in {_OK, _NO_TESTS}), int(lost))


def _has_passed_alone(stage: Stage) -> bool:
    """Tell whether tests failed in *stage*, and all of them passed alone."""
    failed = stage.status == pytest.ExitCode.TESTS_FAILED
    return failed and bool(_passed_alone([stage])) and not stage.failed


def _end(_signal: int, _frame: object) -> None:
    """End as by Ctrl-C: nothing of the second kernel is then left."""
    raise KeyboardInterrupt


def main_and_look(arguments: Sequence[str]) -> int:
    """Run all stages; a run that leaves anything behind has failed."""
    before = take_inventory()
    status = main(arguments, Machine())
    left = left_behind(before, take_inventory())
    for thing in left:
        print(f"left behind: {thing}", flush=True)  # noqa: T201
    return status or bool(left)


if __name__ == "__main__":
    sys.exit(main_and_look(sys.argv[1:]))
