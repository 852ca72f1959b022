"""The lab itself: whole commands from start to end."""

import subprocess
import time

from bench.cluster import PODWAY
from bench.report import Row, Times, at_most

SECTION = "Lab"
ROUNDS = 10
_NAME = "benchlab"


def run() -> list[Row]:
    """Measure; return the rows."""
    ups, downs = [], []
    for _ in range(ROUNDS):
        try:
            ups.append(
                timed("up", "--nodes", "3", "--backend", "vxlan")
                + timed("pod", "add", "--count", "6")
                + timed("ping")
            )
        finally:
            downs.append(timed("down"))
    up, down = Times(ups), Times(downs)
    note = f"{up}, {ROUNDS} rounds: up, pod add --count 6, ping, as three commands"
    return [
        at_most(SECTION, "3 nodes, 6 pods up and pinging", up.median, 4.0, "s", note),
        at_most(SECTION, "down, verified", down.median, 2.0, "s", str(down)),
    ]


def timed(*arguments: str) -> float:
    """Return the seconds that ``podway lab`` takes for *arguments*."""
    started = time.perf_counter()
    command = [PODWAY, "lab", "--name", _NAME, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return time.perf_counter() - started
