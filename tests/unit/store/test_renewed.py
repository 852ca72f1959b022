"""Values that stand in files: as the files say now, or said last; the log hears of it, once."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from podway.errors import ConfigError
from podway.model.secret import Secret
from podway.store.access import StoreAccess, read_password
from podway.store.renewed import Reading, Renewed


class Numbers:
    """Reads a number from *path*; counts how often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times = 0

    def __call__(self, reading: Reading) -> int:
        self.times += 1
        try:
            return int(reading(self.path).read_text())
        except (OSError, ValueError) as error:
            raise ConfigError("number", str(self.path), "must be one") from error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "number"
    path.write_text("1")
    return path


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelno == logging.WARNING for record in caplog.records)


def test_a_file_that_stays_is_read_once(path: Path) -> None:
    numbers = Numbers(path)
    renewed = Renewed(numbers)
    assert [renewed.now() for _ in range(3)] == [1, 1, 1]
    assert numbers.times == 1


def test_without_a_usable_file_there_is_nothing_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Renewed(Numbers(tmp_path / "none"))


def write_in_place(path: Path) -> None:
    path.write_text("2")


def write_with_the_same_time(path: Path) -> None:
    before = path.stat()
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def move_over(path: Path) -> None:
    draft = path.with_name("draft")
    draft.write_text("2")
    before = path.stat()
    os.utime(draft, ns=(before.st_atime_ns, before.st_mtime_ns))
    draft.replace(path)


def point_elsewhere(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("2")
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize(
    "change", [write_in_place, write_with_the_same_time, move_over, point_elsewhere]
)
def test_however_it_is_replaced(path: Path, change: Callable[[Path], None]) -> None:
    renewed = Renewed(Numbers(path))
    change(path)
    assert renewed.now() == 2


def test_a_mounted_secret_that_kubernetes_replaces(tmp_path: Path) -> None:
    """Two links deep: ``number`` to ``..data/number``, and ``..data`` to the directory of now."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "number").write_text(version)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "number").symlink_to("..data/number")
    renewed = Renewed(Numbers(tmp_path / "number"))
    (tmp_path / "..next").symlink_to("2")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert renewed.now() == 2


def test_a_file_replaced_while_it_is_read_is_read_again(path: Path) -> None:
    class Racing(Numbers):
        def __call__(self, reading: Reading) -> int:
            number = super().__call__(reading)
            if self.times == 1:
                move_over(path)
            return number

    renewed = Renewed(Racing(path))
    assert renewed.now() == 2


def test_a_broken_file_keeps_what_was_and_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = Renewed(Numbers(path))
    for text in ("", "x", "", "12"):
        path.write_text(text)
        expected = 12 if text == "12" else 1
        assert [renewed.now(), renewed.now()] == [expected, expected]
        assert warnings(caplog) == 1
    path.unlink()
    assert [renewed.now(), renewed.now()] == [12, 12]
    assert warnings(caplog) == 2


def test_a_password_that_is_spoilt_is_not_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    access = StoreAccess(store_user="u", store_password_file=path)
    renewed = Renewed(lambda reading: read_password(access, reading))
    for data in (b"", b"\n", b"s3cret\xff"):
        path.write_bytes(data)
        assert renewed.now() == Secret("s3cret")
    path.write_text("s3cret-2")
    path.chmod(0o644)  # others could read it
    assert renewed.now() == Secret("s3cret")
    path.chmod(0o600)
    assert renewed.now() == Secret("s3cret-2")
    assert warnings(caplog) == 1
    shown = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert "s3cret" not in shown
    assert "xff" not in shown
