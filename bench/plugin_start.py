"""How long the podway executable takes to start, beside a bare interpreter and a compiled plugin.

Prints medians of interleaved runs in milliseconds: fork, exec, VERSION, exit. Run it as
``python3 bench/plugin_start.py [ROUNDS]``; nothing but a temporary directory is written.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from podway.plugins.executables import base_interpreter
from podway.plugins.install import install

ROUNDS = 200
BRIDGE = Path("/usr/lib/cni/bridge")
ENVIRONMENT = {"CNI_COMMAND": "VERSION", "PATH": "/usr/bin:/bin"}


def run_ms(argv: list[str]) -> float:
    """Return how long *argv* takes from fork to exit."""
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    start = time.perf_counter()
    process = os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=nowhere)
    _, status = os.waitpid(process, 0)
    took_ms = (time.perf_counter() - start) * 1000
    if status:
        raise SystemExit(f"{argv[0]} failed: wait status {status}")
    return took_ms


def measure(programs: Mapping[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Return the sorted times of each program; runs take turns, so that load hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for argv in programs.values():
        run_ms(argv)
    for _ in range(rounds):
        for name, argv in programs.items():
            times[name].append(run_ms(argv))
    return {name: sorted(each) for name, each in times.items()}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    python = base_interpreter()
    with tempfile.TemporaryDirectory() as directory:
        install(Path(directory))
        programs = {
            "/bin/true": ["/bin/true"],
            "python3 -IS -c pass": [python, "-IS", "-c", "pass"],
            "podway VERSION": [str(Path(directory, "podway"))],
        }
        if BRIDGE.exists():
            programs["Debian's bridge VERSION"] = [str(BRIDGE)]
        times = measure(programs, rounds)
    print(f"{'ms, ' + str(rounds) + ' runs each':<28}{'median':>8}{'p99':>8}")
    for name, each in times.items():
        print(f"{name:<28}{statistics.median(each):>8.2f}{each[int(len(each) * 0.99)]:>8.2f}")


if __name__ == "__main__":
    main()
