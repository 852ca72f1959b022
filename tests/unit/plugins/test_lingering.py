"""Devices whose deletion is waited for."""

from podway.plugins.lingering import LinkDeletion


def test_a_device_that_is_not_there_is_deleted() -> None:
    LinkDeletion(0x7FFFFFFF).wait()
