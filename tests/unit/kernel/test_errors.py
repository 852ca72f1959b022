"""What the lower layers raise, as errors that keep their number and the kernel's words."""

import pytest

from podway.kernel.errors import kernel_error
from podway.netlink import EncodeError, NetlinkError, NetnsError


@pytest.mark.parametrize(
    ("error", "number", "text"),
    [
        pytest.param(
            NetlinkError(1, "create link x"),
            1,
            "create link x: Operation not permitted (needs root, or CAP_NET_ADMIN in this "
            "namespace)",
            id="without rights",
        ),
        pytest.param(
            NetlinkError(95, "create link x kind wireguard", "Unknown device type"),
            95,
            "create link x kind wireguard: Operation not supported: Unknown device type "
            "(this kernel has no support for it)",
            id="unknown to the kernel",
        ),
        pytest.param(
            NetlinkError(101, "replace route x", "Nexthop has invalid gateway"),
            101,
            "replace route x: Network is unreachable: Nexthop has invalid gateway",
            id="in the kernel's words",
        ),
        pytest.param(
            NetnsError(2, "open network namespace /x"),
            2,
            "open network namespace /x: No such file or directory",
            id="no namespace",
        ),
        pytest.param(
            EncodeError("lladdr", "x", "must be a MAC"),
            22,
            None,
            id="no message",
        ),
    ],
)
def test_errors_keep_their_number_and_words(
    error: NetlinkError | NetnsError | EncodeError, number: int, text: str | None
) -> None:
    found = kernel_error(error)
    assert found.errno == number
    assert text is None or str(found) == text
