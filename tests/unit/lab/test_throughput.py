"""iperf3: the command that is run, and what its report says."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from podway.lab.errors import LabError
from podway.lab.throughput import End, client_command, parse_report

TARGET = End("p2", "podway-blue-p2", ip_address("10.244.2.2"))


def report(**end: Any) -> bytes:
    return json.dumps({"start": {}, "end": end}).encode()


def test_tcp_counts_what_was_received() -> None:
    text = report(
        sum_sent={"bits_per_second": 9e9, "seconds": 2.0, "retransmits": 3},
        sum_received={"bits_per_second": 8e9, "seconds": 2.01},
    )
    measured = parse_report("p1", TARGET, text, udp=False, streams=4)
    assert (measured.bits_per_second, measured.retransmits) == (8e9, 3)
    assert (measured.source, measured.target, measured.streams) == ("p1", "p2", 4)
    assert measured.lost_percent is None


def test_udp_leaves_out_what_was_lost() -> None:
    text = report(sum={"bits_per_second": 4e9, "seconds": 2.0, "lost_percent": 25})
    measured = parse_report("p1", TARGET, text, udp=True, streams=1)
    assert (measured.bits_per_second, measured.lost_percent) == (3e9, 25)
    assert measured.retransmits is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"error": "unable to connect to server"}', id="iperf3's own error"),
    ],
)
def test_no_measurement(text: bytes) -> None:
    with pytest.raises(LabError):
        parse_report("p1", TARGET, text, udp=False, streams=1)


def test_command() -> None:
    tcp = client_command(TARGET.address, seconds=2, streams=8, udp=False)
    assert "--time 2 --parallel 8" in " ".join(tcp)
    assert "--udp" not in tcp
    udp = client_command(TARGET.address, seconds=2, streams=1, udp=True)
    assert " ".join(udp).endswith("--udp --bitrate 0")
