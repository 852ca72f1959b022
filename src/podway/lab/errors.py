"""What can go wrong with a lab.

::

    LabError
    ├── LabExists      there is a lab of that name already; says how to remove it
    ├── NoSuchLab      no lab, pod or node of that name; says which there are
    ├── LabDamaged     a state file cannot be read; says how to clear the lab away
    ├── StartFailed    a program of the lab did not come up; carries the end of its log
    ├── PluginFailed   the CNI plugin answered with an error; carries its code
    └── ToolMissing    a program that the lab needs is not installed
"""

from podway.errors import PodwayError


class LabError(PodwayError):
    """A lab cannot do what was asked."""


class LabExists(LabError):  # noqa: N818  (reads as what it is)
    """There is a lab of that name already; it was left alone."""


class NoSuchLab(LabError):  # noqa: N818  (reads as what it is)
    """There is no such lab, node or pod."""


class LabDamaged(LabError):  # noqa: N818
    """A file of the lab does not hold what it should."""


class StartFailed(LabError):  # noqa: N818
    """A program of the lab did not come up."""


class PluginFailed(LabError):  # noqa: N818
    """The CNI plugin answered with an error.

    Attributes:
        code: the CNI error code; 0 when the answer was no CNI error at all.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ToolMissing(LabError):  # noqa: N818
    """A program that the lab needs is not installed."""
