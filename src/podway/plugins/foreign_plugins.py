"""Plugins of others: executed, their answer read.

In: a call and the path of an executable. Out: its result, or its error. Called by `delegation`.
"""

from podway.cni.documents import decode
from podway.cni.errors import INTERNAL, CniError
from podway.cni.fields import Fields
from podway.cni.results import Result, parse_result
from podway.plugins.programs import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.skeleton import Call


def execute(call: "Call", name: str, path: str) -> Result | None:
    """Run the executable of plugin *name* at *path*; return its result if it is an ADD.

    Raises:
        CniError: as it says, or INTERNAL, it failed without a word.
    """
    outcome = run_program([path], call.stdin, {"CNI_COMMAND": call.request.command})
    if outcome.code:
        raise _failure(name, outcome.stdout, outcome.complaint)
    if call.request.command != "ADD":
        return None
    document = decode(outcome.stdout, f"result of plugin {name}")
    return parse_result(document, call.config.cni_version)


def _failure(name: str, stdout: bytes, complaint: str) -> CniError:
    """Return the error that an executable printed, or its complaint where it printed none."""
    try:
        fields = Fields(decode(stdout, "error"))
        code, msg = fields.integer("code"), fields.text("msg")
        details = fields.text("details")
    except CniError:
        code = msg = None
    if not code or not msg:
        return CniError(INTERNAL, f"plugin {name} failed: {complaint or 'it says nothing'}")
    return CniError(code, f"plugin {name}: {msg}", details)
