"""The one thread that talks to the kernel: opens it, makes every call, closes it.

In: calls that block. Out: their results, awaited on the event loop. One thread and one call at a
time, so no kernel has to be safe for threads, and a call sees all that the calls before it did.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from podway.kernel.protocol import Kernel

T = TypeVar("T")


class KernelThread:
    """Runs calls in the kernel's thread.

    Args:
        open_kernel: opens the kernel; called in the thread.
    """

    def __init__(self, open_kernel: Callable[[], Kernel]) -> None:
        self._open_kernel = open_kernel
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="kernel")
        self._kernel: Kernel | None = None

    async def open(self) -> Kernel:
        """Open the kernel and return it."""
        return await self.call(self._open)

    async def call(self, call: Callable[..., T], *arguments: object) -> T:
        """Return what *call* returns for *arguments*, made in the thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, call, *arguments)

    async def close(self) -> None:
        """Close the kernel after the last call, if it was ever opened, and end the thread."""
        try:
            await self.call(self._close)
        finally:
            self._executor.shutdown()

    def _open(self) -> Kernel:
        # Kept by the thread itself: whoever waits for it may be gone before it is open.
        self._kernel = self._open_kernel()
        return self._kernel

    def _close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
