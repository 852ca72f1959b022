"""``podway hub certs``: private keys, nodes that come later, names that cannot be."""

import stat
from pathlib import Path

import pytest

from hub.clients import claim
from hub.hub_process import run_scenario, running_hub
from hub.tls_clients import files_in, open_tls
from podway.errors import ConfigError
from podway.hub.certs import write_certificates


def test_private_keys_are_private(pem: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (pem / "ours").iterdir()}
    assert modes == {
        f"{name}.{suffix}": mode
        for name in ("ca", "hub", "admin", "a", "b")
        for suffix, mode in (("crt", 0o644), ("key", 0o600))
    }
    assert stat.S_IMODE((pem / "ours").stat().st_mode) == 0o700


def test_nodes_can_be_added_later(tmp_path: Path) -> None:
    write_certificates(tmp_path, ["a"])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    written = write_certificates(tmp_path, ["a", "late"], ["192.0.2.1", "hub.example"])
    assert {path.name for path in written} == {"late.crt", "late.key"}
    assert {path: path.read_bytes() for path in before} == before

    async def scenario() -> None:
        async with running_hub(tcp=True, tls=files_in(tmp_path, "hub")) as hub:
            store = open_tls(hub, files_in(tmp_path, "late"))
            await store.claim(claim("late", 1))
            await store.close()

    run_scenario(scenario)


@pytest.mark.parametrize("name", ["", "admin", "hub", "ca", "../a", "a b", "n" * 65])
def test_names_that_cannot_stand_in_a_certificate(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        write_certificates(tmp_path / "pem", [name])
