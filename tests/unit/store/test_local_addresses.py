"""Whether a connection has lost its address."""

import socket

import pytest

from podway.store.local_addresses import is_stranded


@pytest.mark.parametrize(
    ("sockname", "expected"),
    [
        pytest.param(("127.0.0.1", 40000), False, id="an address of this machine"),
        pytest.param(("192.0.2.77", 40000), True, id="none of this machine"),
        pytest.param(("::1", 40000, 0, 0), False, id="IPv6"),
        pytest.param(("2001:db8::77", 40000, 0, 0), True, id="IPv6, none of this machine"),
        pytest.param("/run/podway/hub.sock", False, id="a Unix socket"),
        pytest.param("", False, id="the client's end of one"),
        pytest.param(None, False, id="no socket"),
    ],
)
def test_is_stranded(sockname: object, expected: bool) -> None:  # noqa: FBT001
    assert is_stranded(sockname) is expected


def test_a_port_that_is_taken_says_nothing_about_the_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        assert not is_stranded(other.getsockname())
