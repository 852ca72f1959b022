"""From what the lower layers raise to `KernelError`: the operation, the kernel's words, a hint."""

import errno

from podway.errors import PodwayError
from podway.kernel.protocol import KernelError
from podway.netlink import DecodeError, EncodeError, NetlinkError, NetnsError

_HINTS = {
    errno.EPERM: "needs root, or CAP_NET_ADMIN in this namespace",
    errno.EACCES: "needs root, or CAP_NET_ADMIN in this namespace",
    errno.EOPNOTSUPP: "this kernel has no support for it",
    errno.ENOBUFS: "the kernel is out of buffers; it is tried again",
}


class NoDeviceError(KernelError):
    """What shall be written stands on a device that does not exist.

    Attributes:
        dev: its name.
    """

    def __init__(self, dev: str, operation: str) -> None:
        super().__init__(errno.ENODEV, operation, f"there is no device {dev}")
        self.dev = dev


class worded:  # noqa: N801  (reads as a phrase: with worded("..."))
    """Context manager: what the lower layers raise becomes a `KernelError` about *operation*."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KernelError):
            return
        if isinstance(error, NetlinkError | NetnsError | EncodeError):
            raise kernel_error(error) from error
        if isinstance(error, DecodeError):
            reason = f"the kernel's answer cannot be read ({error})"
            raise KernelError(errno.EBADMSG, self._operation, reason) from error
        if isinstance(error, OSError):
            number = error.errno or errno.EIO
            raise KernelError(number, self._operation, _reason(number, str(error))) from error


def kernel_error(error: PodwayError) -> KernelError:
    """Return *error*, of netlink or a namespace, as a `KernelError`; EINVAL for no message."""
    if isinstance(error, NetlinkError):
        text = error.strerror or ""
        said = f"{text}: {error.reason}" if error.reason else text
        return KernelError(error.errno, error.operation, _reason(error.errno, said))
    if isinstance(error, NetnsError):
        said = f"{error.strerror}: {error.hint}" if error.hint else error.strerror or ""
        return KernelError(error.errno, error.operation, _reason(error.errno, said))
    return KernelError(errno.EINVAL, "write a message to the kernel", str(error))


def _reason(number: int, said: str) -> str:
    hint = _HINTS.get(number)
    return f"{said} ({hint})" if hint else said
