"""The thread of the kernel: one that is given up while it opens, and one that cannot open."""

import asyncio
import contextlib
import errno
import threading

import pytest

from agent.nodes import run
from podway.agent.kernel_thread import KernelThread
from podway.kernel.fake import FakeKernel
from podway.kernel.protocol import Kernel, KernelError
from unit.agent.servers import open_descriptors


def test_who_gives_up_while_the_kernel_is_opened_leaves_nothing_open() -> None:
    gate = threading.Event()

    def open_slowly() -> Kernel:
        gate.wait()
        return FakeKernel()

    async def scenario() -> None:
        before = open_descriptors()
        thread = KernelThread(open_slowly)
        opening = asyncio.create_task(thread.open())
        await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        gate.set()
        await thread.close()
        assert open_descriptors() == before

    run(scenario)


def test_a_kernel_that_cannot_be_opened() -> None:
    def refuse() -> Kernel:
        raise KernelError(errno.EPERM, "open the kernel", "needs root")

    async def scenario() -> None:
        thread = KernelThread(refuse)
        with pytest.raises(KernelError):
            await thread.open()
        await thread.close()

    run(scenario)
