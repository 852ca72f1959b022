"""Undoing: backwards, to the end, and telling what it could not."""

import pytest

from podway.plugins.undo import Undo, attempt_all


def test_undo_goes_backwards_and_tells_what_it_could_not() -> None:
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise OSError(5, "no")

    def add() -> None:
        with Undo() as undo:
            undo.push(done.append, "one")
            undo.push(fails)
            undo.push(done.append, "three")
            raise ValueError("first")

    with pytest.raises(ValueError, match="first") as caught:
        add()
    assert done == ["three", "fails", "one"]
    assert len(caught.value.__notes__) == 1


def test_undo_does_nothing_after_success() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.push(done.append, "never")
    assert done == []


def test_attempt_all_does_every_step_and_raises_the_first_error() -> None:
    done: list[str] = []

    def fail(text: str) -> None:
        done.append(text)
        raise ValueError(text)

    with pytest.raises(ValueError, match="one") as caught:
        attempt_all(lambda: fail("one"), lambda: done.append("two"), lambda: fail("three"))
    assert done == ["one", "two", "three"]
    assert caught.value.__notes__ == ["and: three"]
