"""``python -m bench [SECTION ...]``: measure, print the table, keep it in docs/benchmarks.md."""

import argparse
import importlib
import sys

from bench.report import Row, render, write
from podway.lab.interrupts import interruptible

SECTIONS = (
    "cni",
    "cni_suite",
    "scale",
    "repair",
    "join",
    "labs",
    "throughput",
    "udp",
    "hub_fanout",
    "etcd_join",
    "kubernetes",
    "continuity",
)


def main() -> int:
    """Run the chosen sections."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=...", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    chosen = parser.parse_args().sections or list(SECTIONS)
    rows: list[Row] = []
    try:
        with interruptible():
            for name in chosen:
                print(f"measuring: {name}", file=sys.stderr, flush=True)
                rows += importlib.import_module(f"bench.{name}").run()
    except KeyboardInterrupt:
        print("interrupted; what was made is gone again", file=sys.stderr)
        return 130
    print(render(rows))
    if list(chosen) == list(SECTIONS):
        write(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
