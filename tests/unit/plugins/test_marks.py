"""Marks of networks and attachments: short enough for the kernel, and told apart."""

import pytest

from podway.plugins.marks import MAX_MARK_BYTES, attachment_mark, network_mark


@pytest.mark.parametrize(
    ("network", "container"),
    [("net", "c1"), ("n" * 300, "c1"), ("net", "c" * 300), ("n" * 300, "c" * 300)],
)
def test_marks_fit_and_tell_apart(network: str, container: str) -> None:
    mark = attachment_mark(network, container, "eth0")
    assert len(mark) <= MAX_MARK_BYTES
    assert mark.startswith(network_mark(network))
    others = {
        attachment_mark(network, container, "eth1"),
        attachment_mark(network, f"{container}x", "eth0"),
        attachment_mark(f"{network}x", container, "eth0"),
    }
    assert len(others | {mark}) == 4
    assert not mark.startswith(network_mark(f"{network}x"))
