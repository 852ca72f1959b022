"""Calls of the ``dhcp`` daemon.

In: a call of the plugin. Out: what the daemon says. Called by `dhcp`. The frames are those between
the executable ``podway`` and its agent (`podway.cni.frames`); the namespace travels as a
descriptor, since the daemon may see other paths than the runtime.

While the daemon is away, ADD, DEL, CHECK and GC end with 11 after 2 s, STATUS with 50 at once. A
DEL that succeeded instead would leave a lease that the daemon goes on renewing.
"""

from podway.cni.dhcp_conf import parse_dhcp_conf
from podway.cni.documents import decode
from podway.cni.errors import INTERNAL, IO_FAILURE, TRY_AGAIN_LATER, UNAVAILABLE, CniError
from podway.cni.fields import Fields
from podway.cni.frames import FrameError, encode_request
from podway.cni.results import Result, parse_result
from podway.plugins.podway import PATIENCE_S, exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.plugins.skeleton import Call

# How long an answer may take: the daemon says itself when it gives up (-resendtimeout, 208 s).
_LEASE_DEADLINE_S: "Final" = 3600.0
_DEADLINE_S: "Final" = 60.0


def add(call: "Call") -> Result:
    """Return the address and routes of a lease.

    Raises:
        CniError: TRY_AGAIN_LATER, no server gives one, or the daemon is away; INVALID_CONFIG.
    """
    return parse_result(decode(ask(call).encode(), "answer of the dhcp daemon"))


def ask(call: "Call") -> str:
    """Return what the daemon prints for *call*.

    Raises:
        CniError: as the daemon says; TRY_AGAIN_LATER or UNAVAILABLE, it is away; INVALID_CONFIG.
    """
    path = parse_dhcp_conf(call.request).socket_path
    command = call.request.command
    try:
        frame = encode_request(_environment(call), call.stdin.decode())
        code, stdout = exchange(
            path,
            frame,
            call.netns,
            0.0 if command == "STATUS" else PATIENCE_S,
            _LEASE_DEADLINE_S if command == "ADD" else _DEADLINE_S,
        )
    except FrameError as error:
        raise CniError(IO_FAILURE, f"on {path} answers no dhcp daemon of podway: {error}") from None
    except OSError as error:
        away = UNAVAILABLE if command == "STATUS" else TRY_AGAIN_LATER
        raise CniError(away, _no_answer(path, error)) from None
    if code:
        raise _failure(stdout)
    return stdout


def _environment(call: "Call") -> dict[str, str]:
    """Return the variables of *call*; in a delegation they are not the process's."""
    request = call.request
    told = {
        "CNI_COMMAND": request.command,
        "CNI_CONTAINERID": request.container_id,
        "CNI_NETNS": request.netns,
        "CNI_IFNAME": request.ifname,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in request.args.items()),
        "CNI_PATH": request.path,
    }
    return {name: value for name, value in told.items() if value}


def _failure(stdout: str) -> CniError:
    """Return the error that the daemon printed."""
    try:
        fields = Fields(decode(stdout.encode(), "error"))
        code, msg, details = fields.integer("code"), fields.text("msg"), fields.text("details")
    except CniError as error:
        return CniError(INTERNAL, f"answer of the dhcp daemon: {error.msg}")
    return CniError(code or INTERNAL, msg, details)


def _no_answer(path: str, error: OSError) -> str:
    """Return what happened and what to do; never what a runtime takes for a missing container."""
    reason = {2: "the socket does not exist", 111: "nobody listens there"}.get(error.errno or 0)
    return (
        f"the dhcp daemon does not answer on {path} ({reason or error.strerror or error}): see "
        "that it runs (systemctl start podway-dhcp.socket, or podway dhcp), then repeat the call"
    )
