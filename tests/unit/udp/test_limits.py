"""The token bucket of ICMP errors."""

from podway.udp.limits import Allowance


def test_a_burst_and_then_so_many_a_second() -> None:
    allowance = Allowance(burst=3, per_second=8)
    assert [allowance.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert not allowance.take(100.0625)
    assert allowance.take(100.125)
    assert not allowance.take(100.125)


def test_a_long_rest_gives_no_more_than_a_burst() -> None:
    allowance = Allowance(burst=2, per_second=10)
    assert [allowance.take(1e6) for _ in range(3)] == [True, True, False]
    assert [allowance.take(2e6) for _ in range(3)] == [True, True, False]
