"""One test of each outcome, for the test of the second stage; collected only when it is named."""

import pytest

pytestmark = pytest.mark.kernel("uml")


def test_passes() -> None:
    pass


def test_fails() -> None:
    pytest.fail("on purpose")


@pytest.mark.kernel("wireguard")
def test_needs_what_neither_kernel_has() -> None:
    pass
