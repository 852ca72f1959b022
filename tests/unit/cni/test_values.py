"""Frozen values: what a dataclass would give."""

import pytest

from podway.cni.values import Value, as_tuple, replace


class Point(Value):
    x: int
    y: int = 0
    names: tuple[str, ...] = ()


class Empty(Value):
    pass


def test_fields_defaults_and_repr() -> None:
    point = Point(x=1, names=("a",))
    assert (point.x, point.y, point.names) == (1, 0, ("a",))
    assert repr(point) == "Point(x=1, y=0, names=('a',))"
    assert as_tuple(point) == (1, 0, ("a",))
    assert repr(Empty()) == "Empty()"


def test_equality_and_hash_go_by_value_and_type() -> None:
    assert Point(x=1) == Point(x=1, y=0)
    assert hash(Point(x=1)) == hash(Point(x=1, y=0))
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != (1, 0, ())
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2


def test_replace() -> None:
    assert replace(Point(x=1, y=2), y=3) == Point(x=1, y=3)
    with pytest.raises(TypeError):
        replace(Point(x=1), z=3)


def test_nothing_changes() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.y
    assert point == Point(x=1)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="missing"),
        pytest.param({"x": 1, "z": 2}, id="unknown"),
    ],
)
def test_wrong_fields(given: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(**given)  # type: ignore[arg-type]
