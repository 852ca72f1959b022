"""Rates, bursts and queue lengths of traffic control, as the kernel counts them.

In: bytes and bytes per second. Out: the numbers of tbf and htb. Called by whoever shapes traffic.
Why it is hard: a burst is told as the time that it takes at its rate, in ticks of 64 ns, and all of
that in 32 bits: 274 s. Longer ones are cut, as the kernel would (tbf) or must be (htb). Rates above
2^32 - 1 bytes per second stand in an attribute of their own.

Rounding is that of the reference CNI plugins (through microseconds), so that either sees what the
other has made.

Sources: include/net/pkt_sched.h (PSCHED_SHIFT), net/sched/sch_tbf.c, iproute2 tc/tc_core.c.
"""

from __future__ import annotations

from podway.netlink.constants import TC_LINKLAYER_ETHERNET

U32_MAX = 0xFFFFFFFF
# 1000 / 64: nanoseconds in a microsecond by nanoseconds in a tick.
_TICKS_PER_8_US = 125
_US_PER_S = 1_000_000


def burst_ticks(rate_bytes_ps: int, burst_bytes: int) -> int:
    """Return how long *burst_bytes* take at *rate_bytes_ps*, in ticks of 64 ns, at most 2^32 - 1.

    12500 bytes at 125000 bytes per second are 100000 us: 1562500 ticks.
    """
    microseconds = burst_bytes * _US_PER_S // rate_bytes_ps
    return min(microseconds * _TICKS_PER_8_US // 8, U32_MAX)


def queue_limit_bytes(rate_bytes_ps: int, burst_bytes: int, latency_us: int) -> int:
    """Return how many bytes may wait if none is to wait longer than *latency_us* after a burst."""
    return min(rate_bytes_ps * latency_us // _US_PER_S + burst_bytes, U32_MAX)


def narrow_rate(rate_bytes_ps: int) -> int:
    """Return what stands in the 32 bits of a struct tc_ratespec."""
    return min(rate_bytes_ps, U32_MAX)


def tbf_options(rate_bytes_ps: int, burst_bytes: int, latency_us: int) -> dict[str, object]:
    """Return the ``options`` of a tbf that lets *burst_bytes* pass at once, then the rate."""
    parms = {
        "rate": narrow_rate(rate_bytes_ps),
        "limit": queue_limit_bytes(rate_bytes_ps, burst_bytes, latency_us),
        "buffer": burst_ticks(rate_bytes_ps, burst_bytes),
    }
    if rate_bytes_ps <= U32_MAX:
        return {"parms": parms}
    return {"parms": parms, "rate64": rate_bytes_ps}


def htb_class_options(
    rate_bytes_ps: int, ceil_bytes_ps: int, buffer_ticks: int
) -> dict[str, object]:
    """Return the ``options`` of an htb class that may use *rate_bytes_ps*, or borrow up to ceil.

    The tables that the kernel asks for (``rtab``, ``ctab``) have meant nothing since Linux 3.8: it
    reckons with the rates themselves.
    """
    parms = {
        "rate": narrow_rate(rate_bytes_ps),
        "rate_linklayer": TC_LINKLAYER_ETHERNET,
        "ceil": narrow_rate(ceil_bytes_ps),
        "ceil_linklayer": TC_LINKLAYER_ETHERNET,
        "buffer": buffer_ticks,
        "cbuffer": buffer_ticks,
    }
    options: dict[str, object] = {"parms": parms}
    if rate_bytes_ps > U32_MAX:
        options["rate64"] = rate_bytes_ps
    if ceil_bytes_ps > U32_MAX:
        options["ceil64"] = ceil_bytes_ps
    return options
