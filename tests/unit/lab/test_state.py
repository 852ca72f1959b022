"""A lab's files: whole or not there, and a damaged one says what to do."""

from pathlib import Path

import pytest

from podway.lab.errors import LabDamaged, LabError, NoSuchLab
from podway.lab.specs import LabSpec
from podway.lab.state import (
    Pod,
    create_lab_dir,
    forget_pod,
    list_labs,
    locked,
    read_pod,
    read_pods,
    read_spec,
    write_pod,
    write_spec,
    write_whole,
)
from podway.model.addresses import Family

SPEC = LabSpec(name="blue", nodes=(1, 3), families=(Family.IPV4, Family.IPV6), backend="host-gw")
POD = Pod(name="p1", node="n1", container_id="ab", result={"ips": [{"address": "10.0.0.2/24"}]})


@pytest.fixture(autouse=True)
def _labs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("names", "state"):
        monkeypatch.setattr(f"podway.lab.{module}.LABS_DIR", tmp_path / "lab")


def test_spec_and_pods_come_back() -> None:
    create_lab_dir("blue")
    write_spec(SPEC)
    for name, node in (("p10", "n1"), ("p2", "n1"), ("a", "n3")):
        write_pod("blue", Pod(name=name, node=node, container_id="ab", result=POD.result))
    assert read_spec("blue") == SPEC
    assert [pod.name for pod in read_pods("blue")] == ["p2", "p10", "a"]
    forget_pod("blue", "p2")
    forget_pod("blue", "p2")
    assert [pod.name for pod in read_pods("blue")] == ["p10", "a"]
    assert list_labs() == ["blue"]


def test_a_lab_is_made_once() -> None:
    create_lab_dir("blue")
    with pytest.raises(LabError):
        create_lab_dir("blue")


def test_unknown_names() -> None:
    with pytest.raises(NoSuchLab):
        read_spec("blue")
    with pytest.raises(NoSuchLab), locked("blue"):
        pytest.fail("there is nothing to lock")
    create_lab_dir("blue")
    with pytest.raises(NoSuchLab):
        read_pod("blue", "p1")
    assert read_pods("blue") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": 1}', b"\xff\xfe"])
def test_damage_is_told_apart(content: bytes, tmp_path: Path) -> None:
    create_lab_dir("blue")
    write_pod("blue", POD)
    (tmp_path / "lab" / "blue" / "lab.json").write_bytes(content)
    (tmp_path / "lab" / "blue" / "pods" / "p1.json").write_bytes(content)
    with pytest.raises(LabDamaged):
        read_spec("blue")
    with pytest.raises(LabDamaged):
        read_pods("blue")


def test_a_lab_without_a_spec_is_damaged() -> None:
    create_lab_dir("blue")
    with pytest.raises(LabDamaged):
        read_spec("blue")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
