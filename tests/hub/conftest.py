"""Certificates that several files here share."""

from pathlib import Path

import pytest

from podway.hub.certs import write_certificates


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, the hub, admin and nodes a and b; and a foreign authority with the same."""
    directory = tmp_path_factory.mktemp("pem")
    write_certificates(directory / "ours", ["a", "b"])
    write_certificates(directory / "foreign", ["a"])
    return directory
