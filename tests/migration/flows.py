"""Traffic between pods of two nodes while something happens, and what of it was lost.

The programs that send and receive are `traffic.py`, in the pods' namespaces.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migration.flannel_nodes import PATIENCE_S, FlannelNode
from netns.conftest import Netns

TRAFFIC = Path(__file__).with_name("traffic.py")


class Flows:
    """UDP at 1 kHz and a TCP stream from one pod to another, and back."""

    def __init__(self, first: FlannelNode, second: FlannelNode) -> None:
        self._pairs = []
        for port, (source, target) in ((7001, (first, second)), (7002, (second, first))):
            address = f"10.244.{target.number}.2"
            for kind, server in (("udp-send", "udp-receive"), ("tcp-stream", "tcp-serve")):
                receiver = _program(target.pod, server, str(port))
                assert receiver.stdout is not None
                assert receiver.stdout.readline() == b"ready\n"
                sender = _program(source.pod, kind, address, str(port))
                self._pairs.append((sender, receiver))

    def end(self) -> list[dict[str, int]]:
        """Return what each pair counted."""
        told = []
        for sender, receiver in self._pairs:
            sent, _ = sender.communicate(timeout=PATIENCE_S)
            received, _ = receiver.communicate(timeout=PATIENCE_S)
            told.append({**json.loads(received), **json.loads(sent)})
        return told

    def kill(self) -> None:
        for process in (each for pair in self._pairs for each in pair):
            if process.poll() is None:
                process.kill()
                process.communicate()


@contextmanager
def flows(first: FlannelNode, second: FlannelNode) -> Iterator[Flows]:
    """Yield traffic between the pods of two nodes, which ends with the body."""
    made = Flows(first, second)
    try:
        yield made
    finally:
        made.kill()


def _program(pod: Netns, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["nsenter", f"--net={pod.path}", sys.executable, "-I", str(TRAFFIC), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def assert_nothing_lost(told: list[dict[str, int]]) -> None:
    for each in told:
        assert each["received"] == each["sent"], told
        assert each["sent"] > 0, told
        assert not each.get("missing"), told
        assert not each.get("retransmits"), told
