"""What to do backwards when an ADD fails in the middle, and what a DEL does in spite of failures.

`contextlib.ExitStack` would do the same and cost 5 ms of import.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self


class Undo:
    """Runs what was pushed, last first, if its block ends with an exception.

    A step that fails does not keep the others from running: its error becomes a note of the one
    that ended the block, which is the one that the caller hears of. ::

        with Undo() as undo:
            undo.push(delete_device, make_device())
            ...                                    # raises: the device is deleted
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def push(self, step: "Callable[..., object]", *arguments: "Any") -> None:
        """Run ``step(*arguments)`` should the block fail from here on."""
        self._steps.append((step, arguments))

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        while self._steps:
            step, arguments = self._steps.pop()
            try:
                step(*arguments)
            except Exception as failure:  # noqa: BLE001 - the others must run too
                error.add_note(f"and could not undo: {failure}")


def attempt_all(*steps: "Callable[[], object]") -> None:
    """Do every step, also when one before it failed; raise the first error at the end."""
    first: Exception | None = None
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - raised below
            if first is None:
                first = error
            else:
                first.add_note(f"and: {error}")
    if first is not None:
        raise first
