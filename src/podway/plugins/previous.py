"""What earlier plugins of the list made: prevResult, and the devices in it.

In: a request. Out: a `Result`. For chained plugins, which return it again (changed or not), and
for CHECK. A runtime hands it back as it got it, but nothing keeps it from lying: it says where to
look, never what to delete.
"""

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.fields import Fields
from podway.cni.results import parse_result
from podway.cni.versions import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.requests import Request
    from podway.cni.results import Result


def previous_result(request: "Request") -> "Result | None":
    """Return prevResult, None without one.

    Raises:
        CniError: DECODING_FAILURE, it is no result.
    """
    document = request.config.prev_result
    return None if document is None else parse_result(document, request.config.cni_version)


def required_previous_result(request: "Request") -> "Result":
    """Return prevResult, which a chained ADD and every CHECK must have.

    Raises:
        CniError: INVALID_CONFIG, there is none; DECODING_FAILURE, it is no result.
    """
    result = previous_result(request)
    if result is None:
        wanted = (
            "the result of the plugin before it" if request.command == "ADD" else "ADD's result"
        )
        told = f"{request.command} of {request.config.type or 'this plugin'} needs {wanted}"
        raise CniError(INVALID_CONFIG, f"prevResult is missing: {told}")
    return result


def names_interfaces(request: "Request") -> bool:
    """Tell whether prevResult is of a version that has interfaces: of 0.3.0 or newer."""
    fields = Fields(request.config.prev_result or {})
    version = fields.text("cniVersion") or request.config.cni_version
    return version not in ALL[: ALL.index("0.3.0")]


def find_interface(result: "Result", name: str, sandbox: str) -> int | None:
    """Return the position of interface *name* in *sandbox* ("" for the host); None without it."""
    for position, interface in enumerate(result.interfaces):
        if interface.name == name and interface.sandbox == sandbox:
            return position
    return None


def container_interface(result: "Result", request: "Request") -> int:
    """Return the position of the attachment's interface in the container.

    Raises:
        CniError: INVALID_CONFIG, prevResult has none.
    """
    position = find_interface(result, request.ifname, request.netns)
    if position is None:
        raise CniError(
            INVALID_CONFIG,
            f"prevResult has no interface {request.ifname} in {request.netns}",
        )
    return position
