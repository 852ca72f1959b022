"""The root of every error that podway raises on purpose.

::

    PodwayError
    ├── ConfigError            a value from a user breaks a rule; names field, value and rule
    │   └── ArgumentError      that stands in the command line itself: exit code 2
    ├── StoreError             (store/)  the cluster store refused, lost or cannot be reached
    ├── KernelError            (kernel/) an operation that the kernel refused; keeps the errno
    ├── AddressError           (compute/) no address can be given; says which rule stands in the way
    └── NetlinkError           (netlink/) one netlink request failed; also an OSError

Messages say what, value, rule, and what to do; callers branch on types and numbers, never on text.
"""

_SHOWN_CHARS = 200


class PodwayError(Exception):
    """Root of podway's own errors."""


class ConfigError(PodwayError):
    """A configured value breaks a rule. The message shows as much of it as one can read.

    Attributes:
        field: path of the field, as the user writes it (``Backend.VNI``).
        value: the value as given.
        rule: what the value must satisfy.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"{field} = {_shown(value)}: {rule}")
        self.field = field
        self.value = value
        self.rule = rule


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


class ArgumentError(ConfigError):
    """A value in the command line is wrong whatever files, machine and cluster are like.

    The command ends with 2, as it does for arguments that cannot be parsed: who calls it again in
    the same words will fail again. What stands in a file, or is taken or missing on the machine, is
    a plain `ConfigError`, and the command has failed.
    """


def exit_code(error: Exception) -> int:
    """Return with what a command ends that *error* stopped: 2 for its own arguments, else 1."""
    return 2 if isinstance(error, ArgumentError) else 1
