"""What the lower layers raise, as one kind of error: the operation, the reason, the errno."""

import errno

import pytest

from podway.kernel.errors import worded
from podway.kernel.protocol import KernelError
from podway.netlink import DecodeError, EncodeError, NetlinkError, NetnsError


@pytest.mark.parametrize(
    ("raised", "number", "told"),
    [
        pytest.param(
            NetlinkError(errno.EEXIST, "create link x"), errno.EEXIST, "create link x", id="netlink"
        ),
        pytest.param(
            NetnsError(errno.ENOENT, "open network namespace x"),
            errno.ENOENT,
            "open network namespace x",
            id="namespace",
        ),
        pytest.param(
            EncodeError("link.ifname", "x" * 16, "is too long"),
            errno.EINVAL,
            "is too long",
            id="message",
        ),
        pytest.param(
            DecodeError("cut short", "rule.expressions"),
            errno.EBADMSG,
            "list rules: the kernel's answer cannot be read (rule.expressions: cut short)",
            id="answer",
        ),
        pytest.param(
            OSError(errno.EPERM, "no"), errno.EPERM, "list rules: [Errno 1] no (needs root", id="OS"
        ),
        pytest.param(OSError("odd"), errno.EIO, "list rules: odd", id="no errno"),
    ],
)
def test_one_kind_of_error(raised: Exception, number: int, told: str) -> None:
    with pytest.raises(KernelError) as caught, worded("list rules"):
        raise raised
    assert caught.value.errno == number
    assert told in str(caught.value)
    assert caught.value.__cause__ is raised


def test_what_is_worded_already_stays() -> None:
    error = KernelError(errno.EBUSY, "delete link x", "in use")
    with pytest.raises(KernelError) as caught, worded("list rules"):
        raise error
    assert caught.value is error


def test_a_defect_is_no_kernel_error() -> None:
    with pytest.raises(AssertionError), worded("list rules"):
        raise AssertionError("a defect")
