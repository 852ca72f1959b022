"""Bursts and queues in the kernel's units, and the handles of traffic control."""

from pathlib import Path

import pytest

from podway.netlink.constants import ETH_P_ALL, ETH_P_IPV6, TC_H_INGRESS, TC_H_ROOT
from podway.netlink.traffic_control import format_handle, make_handle
from podway.netlink.traffic_filters import filter_info, split_filter_info
from podway.netlink.traffic_rates import (
    U32_MAX,
    burst_ticks,
    htb_class_options,
    queue_limit_bytes,
    tbf_options,
)


@pytest.mark.parametrize(
    ("rate_bytes_ps", "burst_bytes", "ticks"),
    [
        pytest.param(125_000, 12_500, 1_562_500, id="1 Mbit/s, 100 kbit: 100 ms"),
        pytest.param(2, 1, 7_812_500, id="half a second"),
        pytest.param(3, 1, 333_333 * 125 // 8, id="through whole microseconds"),
        pytest.param(10**10, 1, 0, id="less than a microsecond"),
        pytest.param(125_000, U32_MAX // 8, U32_MAX, id="as container runtimes ask: cut at 274 s"),
        pytest.param(1, U32_MAX, U32_MAX, id="136 years: cut"),
    ],
)
def test_bursts_are_times(rate_bytes_ps: int, burst_bytes: int, ticks: int) -> None:
    assert burst_ticks(rate_bytes_ps, burst_bytes) == ticks


def test_the_tick_is_the_kernels() -> None:
    ns_per_us, ns_per_tick, _, _ = Path("/proc/net/psched").read_text(encoding="ascii").split()
    assert burst_ticks(1, 1) == 1_000_000 * int(ns_per_us, 16) // int(ns_per_tick, 16)


def test_a_queue_holds_burst_and_latency() -> None:
    assert queue_limit_bytes(1_000_000, 5_000, 25_000) == 30_000
    assert queue_limit_bytes(10**12, 5_000, 25_000) == U32_MAX


def test_rates_above_32_bits_have_a_field_of_their_own() -> None:
    slow, fast = tbf_options(1000, 100, 25_000), tbf_options(2**33, 2**20, 25_000)
    assert slow == {"parms": {"rate": 1000, "limit": 125, "buffer": 1_562_500}}
    assert (fast["rate64"], fast["parms"]) == (
        2**33,
        {"rate": U32_MAX, "limit": 2**33 // 40 + 2**20, "buffer": 122 * 125 // 8},
    )
    options = htb_class_options(2**31, 2**32, 7)
    assert options["ceil64"] == 2**32
    assert "rate64" not in options


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        pytest.param(make_handle(1), "1:", id="discipline"),
        pytest.param(make_handle(1, 0x30), "1:30", id="class"),
        pytest.param(TC_H_ROOT, "root", id="root"),
        pytest.param(TC_H_INGRESS, "ingress", id="ingress"),
    ],
)
def test_handles_are_told_as_tc_does(handle: int, text: str) -> None:
    assert format_handle(handle) == text


@pytest.mark.parametrize("protocol", [ETH_P_ALL, ETH_P_IPV6])
def test_info_is_priority_and_protocol(protocol: int) -> None:
    assert split_filter_info(filter_info(16, protocol)) == (16, protocol)
