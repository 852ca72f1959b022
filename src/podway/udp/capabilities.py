"""Gives up the capabilities of this process (capabilities(7)): Python has no call for that."""

import os
from struct import Struct

# struct __user_cap_header_struct: version 3, this thread; then three sets of 64 bits, all empty.
_HEADER = Struct("=Ii").pack(0x20080522, 0)
_NONE = bytes(24)


def drop_capabilities() -> None:
    """Drop every capability, effective, permitted and inheritable.

    Raises:
        OSError: the kernel refuses.
    """
    import ctypes  # noqa: PLC0415  (2 MB that a relay seldom needs)

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(_HEADER, _NONE):
        number = ctypes.get_errno()
        raise OSError(number, f"drop capabilities: {os.strerror(number)}")
