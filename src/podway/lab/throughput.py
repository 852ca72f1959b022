"""How fast bytes get from one pod to another: iperf3, started in both namespaces.

A node's name measures the bare underlay instead, which is what an overlay is compared with.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from shutil import which
from typing import Any

from msgspec import Struct

from podway.lab.errors import LabError, ToolMissing
from podway.lab.namespaces import entered_popen, run_in
from podway.model.addresses import IPAddress

PORT = 5201
# On top of the measurement itself: connecting, and the exchange of results.
OVERHEAD_S = 10.0


class Measurement(Struct, frozen=True, kw_only=True):
    """One measured transfer.

    Attributes:
        source: who sent.
        target: who received.
        address: of the target.
        udp: UDP instead of TCP.
        streams: how many at the same time.
        seconds: how long it took.
        bits_per_second: received.
        retransmits: TCP segments sent again; None with UDP.
        lost_percent: UDP datagrams lost; None with TCP.
    """

    source: str
    target: str
    address: str
    udp: bool
    streams: int
    seconds: float
    bits_per_second: float
    retransmits: int | None = None
    lost_percent: float | None = None


class End(Struct, frozen=True):
    """One end of a measurement: a pod or a node, its namespace, its address."""

    name: str
    namespace: str
    address: IPAddress


def measure(
    source: End, target: End, *, seconds: int = 2, streams: int = 1, udp: bool = False
) -> Measurement:
    """Send from *source* to *target* for *seconds* and return what arrived.

    Raises:
        ToolMissing: iperf3 is not installed.
        LabError: iperf3 failed; its own words are in the text.
    """
    if which("iperf3") is None:
        raise ToolMissing("iperf3 is not installed: apt-get install iperf3")
    with _serving(target):
        command = client_command(target.address, seconds=seconds, streams=streams, udp=udp)
        try:
            _, report, _ = run_in(source.namespace, command, timeout_s=seconds + OVERHEAD_S)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"no connection from {source.name} to {target.name}") from error
    return parse_report(source.name, target, report, udp=udp, streams=streams)


def client_command(address: IPAddress, *, seconds: int, streams: int, udp: bool) -> Sequence[str]:
    """Return the command that sends. Pure."""
    command = ["iperf3", "--json", "--client", str(address), "--port", str(PORT)]
    command += ["--time", str(seconds), "--parallel", str(streams)]
    command += ["--connect-timeout", "3000"]
    return [*command, "--udp", "--bitrate", "0"] if udp else command


@contextmanager
def _serving(target: End) -> Iterator[None]:
    """Run a server for one measurement; it is listening once this yields."""
    command = ["iperf3", "--server", "--one-off", "--forceflush", "--port", str(PORT)]
    with entered_popen(target.namespace, command) as server:
        try:
            _wait_listening(target, server)
            yield
        finally:
            server.kill()


def _wait_listening(target: End, server: "subprocess.Popen[bytes]") -> None:
    """Read the server's output up to the line that says so; it ends when the server does."""
    assert server.stdout is not None
    assert server.stderr is not None
    for line in server.stdout:
        if line.startswith(b"Server listening"):
            return
    reason = server.stderr.read().decode("utf-8", "replace").strip()
    raise LabError(f"iperf3 does not serve on {target.name}: {reason}")


def parse_report(
    source: str, target: End, report: bytes, *, udp: bool, streams: int
) -> Measurement:
    """Return what iperf3's JSON *report* says. Raises `LabError` when it tells of a failure. Pure.

    UDP: iperf3 counts in ``sum`` on the sender's side, and what was lost beside it.
    """
    try:
        document = json.loads(report)
    except ValueError as error:
        raise LabError(f"iperf3 from {source} to {target.name} printed no report") from error
    if "error" in document:
        raise LabError(f"iperf3 from {source} to {target.name}: {document['error']}")
    end: dict[str, Any] = document["end"]
    total = end["sum"] if udp else end["sum_received"]
    lost = float(total["lost_percent"]) if udp else None
    delivered = 1 - (lost or 0.0) / 100
    return Measurement(
        source=source,
        target=target.name,
        address=str(target.address),
        udp=udp,
        streams=streams,
        seconds=float(total["seconds"]),
        bits_per_second=float(total["bits_per_second"]) * delivered,
        retransmits=None if udp else int(end["sum_sent"].get("retransmits", 0)),
        lost_percent=lost,
    )
