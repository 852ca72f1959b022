"""A configuration is told of once, by whoever takes it up."""

from pathlib import Path

import pytest

from podway.store.net_conf_file import read_net_conf
from podway.store.net_conf_remarks import tell_unknown_keys

TEXT = b'{"Network": "10.77.0.0/16", "Subnetz": 1}'


@pytest.fixture(autouse=True)
def untold() -> None:
    tell_unknown_keys.cache_clear()


def told(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [record.__dict__["fields"] for record in caplog.records]


def test_a_text_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        tell_unknown_keys(TEXT)
    assert told(caplog) == [{"key": "Subnetz", "nearest": "SubnetMin"}]


def test_whoever_reads_a_file_hears_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "net-conf.json").write_bytes(TEXT)
    assert read_net_conf(tmp_path / "net-conf.json").network is not None
    assert len(told(caplog)) == 1
    (tmp_path / "net-conf.json").write_bytes(TEXT[:-4] + b'"SubnetLen": "x"}')
    assert read_net_conf(tmp_path / "net-conf.json").network is None
    assert len(told(caplog)) == 1
