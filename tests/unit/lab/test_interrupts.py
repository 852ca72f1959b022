"""Signals between steps, not within one."""

import os
import signal
import threading

import pytest

from podway.lab.interrupts import SIGNALS, interruptible, uninterrupted


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def signalled(number: signal.Signals) -> None:
    with interruptible():
        send(number)
        pytest.fail("went on after the signal")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda each: each.name)
def test_a_signal_ends_the_block(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(KeyboardInterrupt):
        signalled(number)
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS, ids=lambda each: each.name)
def test_a_step_is_finished_first(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with interruptible():
            with uninterrupted():
                with uninterrupted():
                    send(number)
                    done.append("inner")
                done.append("outer")
            done.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]
    with interruptible(), uninterrupted():
        done.append("the signal is forgotten")


def test_other_threads_are_not_concerned() -> None:
    """A thread in the middle of its step does not keep the main thread from being interrupted."""
    inside, over = threading.Event(), threading.Event()

    def step() -> None:
        with uninterrupted():
            inside.set()
            over.wait(10)

    thread = threading.Thread(target=step)
    thread.start()
    inside.wait(10)
    try:
        with pytest.raises(KeyboardInterrupt):
            signalled(signal.SIGTERM)
    finally:
        over.set()
        thread.join()
