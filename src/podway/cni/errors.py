"""The error of the CNI protocol: a number, a message, and the JSON that a runtime reads.

Raised by everything under `podway.cni`; printed on stdout by the executables (exit code 1). The
numbers are those of the CNI specification 1.1.0, section "Error" (``SPEC.md``), with one that only
the Go library defines (8) and the one with which it wraps whatever has no number (999).
"""

from podway.errors import PodwayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

INCOMPATIBLE_VERSION: "Final" = 1  # the configuration's cniVersion is not supported
UNSUPPORTED_FIELD: "Final" = 2  # a key of the configuration is not supported
UNKNOWN_CONTAINER: "Final" = 3  # the container does not exist: the runtime need not clean up
INVALID_ENVIRONMENT: "Final" = 4  # a CNI_* variable is missing or breaks a rule
IO_FAILURE: "Final" = 5  # for example, standard input cannot be read
DECODING_FAILURE: "Final" = 6  # not JSON, or a key of the protocol has the wrong type
INVALID_CONFIG: "Final" = 7  # a value of the configuration breaks a rule
INVALID_NETNS: "Final" = 8  # CNI_NETNS is no namespace, or is the plugin's own (Go: types.go)
TRY_AGAIN_LATER: "Final" = 11  # a condition that should clear up by itself
UNAVAILABLE: "Final" = 50  # STATUS: the plugin cannot serve ADD
LIMITED_CONNECTIVITY: "Final" = 51  # STATUS: likewise, and containers may be cut off already
FIRST_PLUGIN_CODE: "Final" = 100  # from here on, a plugin's own
NO_ADDRESS: "Final" = FIRST_PLUGIN_CODE  # no address of the network is free
CHECK_FAILED: "Final" = FIRST_PLUGIN_CODE + 2  # CHECK: what ADD made is missing or differs
INTERNAL: "Final" = 999  # a defect of the plugin (Go: types.go, ErrInternal)

# A hostile value is shown, but not in full.
_SHOWN_CHARACTERS = 120


class CniError(PodwayError):
    """A CNI command failed.

    Attributes:
        code: number of the specification.
        msg: one sentence: what, value, rule, what to do.
        details: more for a log, or "".
    """

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(f"{msg} ({details})" if details else msg)
        self.code = code
        self.msg = msg
        self.details = details


def broken_rule(field: str, value: object, rule: str, code: int = INVALID_CONFIG) -> CniError:
    """Return the error for a *value* of *field* that breaks *rule*; None is what is missing."""
    said = "is missing" if value is None else f"= {shown(value)}"
    return CniError(code, f"{field} {said}: {rule}")


def shown(value: object) -> str:
    """Return *value* as a message shows it: as Python writes it, and not without end."""
    text = repr(value)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}... ({len(text)} characters)"


def error_document(error: CniError, version: str) -> dict[str, str | int]:
    """Return *error* as the JSON object of SPEC 1.1.0, section "Error", in *version*."""
    document: dict[str, str | int] = {
        "cniVersion": version,
        "code": error.code,
        "msg": error.msg,
    }
    return {**document, "details": error.details} if error.details else document
