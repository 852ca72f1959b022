"""The ``podway`` executable: passes a runtime's request to the agent, and prints its answer.

In: CNI_* variables and standard input. Out: what the agent says, or an error of the protocol. The
agent validates and decides; here only what it cannot do: open CNI_NETNS, which is a path in the
runtime's mount namespace, and say so when the agent is away. VERSION needs no agent.

Nothing is read twice on the way to the agent. Should something fail before it has been asked, the
request is validated here, so that a runtime hears of the first rule that it breaks, as it would
from the agent.

**When the agent is away.** ADD, DEL, CHECK and GC end with error 11 (try again later), STATUS with
50. They try for `PATIENCE_S` first, which hides a restart of the agent; more would only make the
kubelet's workers wait, which repeat the call anyway. DEL fails too: to succeed would leak the
address until the next GC, and most runtimes never call GC. Kubelet repeats StopPodSandbox until it
succeeds, and an agent in a host-network pod starts without CNI, so nothing waits for itself.
containerd takes a failed DEL for a success if its message has "not found" in it, or, without
CNI_NETNS, "no such file or directory" (go-cni, ``cni.go``, ``Remove``): our messages avoid both.

**Fast.** Where ``python3 -IS -c pass`` takes 6.2 ms, of which the interpreter's orderly exit is 1.1
(`process.finish` skips it), VERSION takes 6.6 and Debian's bridge, which is compiled, 2.2; medians
of ``bench/plugin_start.py``. A skeleton of this program, 11 modules and 400 lines, took 6.4 ms as
imported modules, 6.0 in one module, 5.9 as one marshalled code object, 7.8 as one source file (it
is compiled anew each time) and 10.5 in a zip archive. Leaving docstrings out (``-OO``), switching
the garbage collector off or shortening ``sys.path`` gave nothing. Modules won: half a millisecond
is not worth a second form of the code, which an upgrade of Python would break.
"""

from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket
from errno import EAGAIN, ECONNREFUSED, ENOENT
from sys import byteorder
from time import monotonic, sleep

from podway import __version__
from podway.cni.documents import MAX_DOCUMENT_BYTES, decode, encode
from podway.cni.errors import (
    INTERNAL,
    IO_FAILURE,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
    CniError,
    error_document,
)
from podway.cni.frames import (
    DEFAULT_AGENT_SOCKET,
    MAX_RESPONSE_BYTES,
    FrameBuffer,
    FrameError,
    decode_response,
    encode_request,
    parse_socket_path,
)
from podway.plugins.process import finish, read_environment, read_stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final, NoReturn

# How long to look for an agent that is not there; STATUS asks about now.
PATIENCE_S: "Final" = 2.0
# A try costs 20 us; longer pauses would only add to the first pods of a node that starts.
FIRST_PAUSE_S: "Final" = 0.02
LONGEST_PAUSE_S: "Final" = 0.03
# How long the agent may take; the kubelet gives up after 120 s.
ANSWER_DEADLINE_S: "Final" = 60.0

# No socket, nobody behind it, or its queue is full.
_AWAY: "Final" = {
    ENOENT: "the socket does not exist",
    ECONNREFUSED: "nobody listens there",
    EAGAIN: "its queue is full",
}


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    try:
        environment = read_environment()
        if not environment.get("CNI_COMMAND"):
            finish(0, "", _about())
        code, stdout = answer(environment)
    except CniError as error:
        code, stdout = _failure(error, b"")
    except Exception as error:  # noqa: BLE001 - a runtime reads JSON, never a traceback
        defect = CniError(INTERNAL, f"defect in the podway plugin: {type(error).__name__}: {error}")
        code, stdout = _failure(defect, b"")
    finish(code, stdout)


def answer(environment: "Mapping[str, str]") -> tuple[int, str]:
    """Return exit code and standard output for the call in *environment* and standard input.

    Raises:
        CniError: standard input cannot be read.
    """
    if environment["CNI_COMMAND"] == "VERSION":
        return 0, _version()
    try:
        stdin = read_stdin(MAX_DOCUMENT_BYTES)
    except CniError as error:
        from podway.cni.requests import parse_command  # noqa: PLC0415 - errors have the time

        parse_command(environment)
        raise error from None
    try:
        return ask_agent(environment, stdin)
    except CniError as error:
        return _failure(_first_error(environment, stdin, error), stdin)


def ask_agent(environment: "Mapping[str, str]", stdin: bytes) -> tuple[int, str]:
    """Return the agent's exit code and standard output.

    Raises:
        CniError: the request cannot be passed on, or no answer comes.
    """
    path = _socket_path(decode(stdin, "network configuration"))
    command = environment["CNI_COMMAND"]
    descriptor = _open_netns(command, environment)
    try:
        frame = encode_request(environment, stdin.decode())
    except FrameError as error:
        raise CniError(IO_FAILURE, f"the request cannot be passed to the agent: {error}") from None
    try:
        patience_s = 0.0 if command == "STATUS" else PATIENCE_S
        return exchange(path, frame, descriptor, patience_s, ANSWER_DEADLINE_S)
    except FrameError as error:
        raise CniError(IO_FAILURE, f"on {path} answers no podway agent: {error}") from None
    except OSError as error:
        code = UNAVAILABLE if command == "STATUS" else TRY_AGAIN_LATER
        raise CniError(code, _no_answer(path, error)) from None


def exchange(
    path: str,
    frame: bytes,
    descriptor: int | None,
    patience_s: float,
    answer_s: float,
) -> tuple[int, str]:
    """Return the answer of the daemon on *path* to *frame*: exit code and standard output.

    Raises:
        FrameError: what answers is no daemon of podway's.
        OSError: nothing answers within *answer_s*.
    """
    deadline_s = monotonic() + answer_s
    link = connect(path, patience_s)
    try:
        _send(link, frame, descriptor, deadline_s)
        return decode_response(_receive(link, deadline_s))
    finally:
        link.close()


def _socket_path(config: "Mapping[str, object]") -> str:
    """Return where *config* says that the agent listens; keys are matched without case."""
    told = [value for key, value in config.items() if key.lower() == "agentsocket"]
    return parse_socket_path(told[-1] if told else None, DEFAULT_AGENT_SOCKET)


def connect(path: str, patience_s: float) -> socket:
    """Return a connection to the agent; look for it for *patience_s* while it is away.

    Raises:
        OSError: it stays away, or the socket is out of reach for another reason.
    """
    deadline_s = monotonic() + patience_s
    pause_s = FIRST_PAUSE_S
    while True:
        link = socket(AF_UNIX, SOCK_STREAM)
        # With a timeout a full queue is EAGAIN at once, instead of a wait without end.
        link.settimeout(ANSWER_DEADLINE_S)
        try:
            link.connect(path)
        except OSError as error:
            link.close()
            if error.errno not in _AWAY or monotonic() + pause_s > deadline_s:
                raise
        else:
            return link
        sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _send(link: socket, frame: bytes, descriptor: int | None, deadline_s: float) -> None:
    """Send *frame*, and *descriptor* with its first byte."""
    rights = []
    if descriptor is not None:
        rights = [(SOL_SOCKET, SCM_RIGHTS, descriptor.to_bytes(4, byteorder))]
    try:
        link.settimeout(_left_s(deadline_s))
        sent = link.sendmsg([frame], rights)
        link.sendall(frame[sent:])
    except (BrokenPipeError, ConnectionResetError):
        # An agent that refuses a request answers before it closes; the answer can still be read.
        return


def _receive(link: socket, deadline_s: float) -> bytes:
    """Return the payload of the agent's answer."""
    buffer = FrameBuffer(MAX_RESPONSE_BYTES)
    payload = None
    while payload is None:
        link.settimeout(_left_s(deadline_s))
        data = link.recv(buffer.wanted_bytes)
        if not data:
            raise ConnectionResetError
        payload = buffer.feed(data)
    return payload


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _open_netns(command: str, environment: "Mapping[str, str]") -> int | None:
    """Return a descriptor of CNI_NETNS, None where the command has none or DEL finds it gone."""
    path = environment.get("CNI_NETNS", "")
    if command not in {"ADD", "CHECK", "DEL"} or (command == "DEL" and not path):
        return None
    from podway.plugins.namespaces import NetnsGoneError, open_netns  # noqa: PLC0415

    may_be_own = environment.get("CNI_NETNS_OVERRIDE", "").lower() in {"1", "true"}
    try:
        return open_netns(path, may_be_own=may_be_own)
    except NetnsGoneError:
        if command == "DEL":
            return None
        raise


def _first_error(environment: "Mapping[str, str]", stdin: bytes, error: CniError) -> CniError:
    """Return the first rule that the request breaks, *error* if it breaks none."""
    from podway.cni.requests import parse_request  # noqa: PLC0415
    from podway.cni.versions import PODWAY_VERSIONS  # noqa: PLC0415

    try:
        parse_request(environment, stdin, PODWAY_VERSIONS)
    except CniError as earlier:
        return earlier
    return error


def _failure(error: CniError, stdin: bytes) -> tuple[int, str]:
    """Return exit code and output for *error*, in the configuration's version if it has one."""
    from podway.cni.versions import ALL, NEWEST  # noqa: PLC0415

    try:
        version = decode(stdin, "network configuration").get("cniVersion")
    except CniError:
        version = None
    return 1, encode(error_document(error, version if version in ALL else NEWEST))


def _no_answer(path: str, error: OSError) -> str:
    """Return what happened and what to do about it."""
    if isinstance(error, TimeoutError):
        happened = f"has not answered within {ANSWER_DEADLINE_S:.0f} s on {path}"
    elif isinstance(error, ConnectionResetError):
        happened = f"closed {path} before it answered; it may be restarting"
    else:
        reason = _AWAY.get(error.errno or 0, error.strerror)
        happened = f"does not answer on {path} ({reason})"
    return (
        f"podway agent on this node {happened}: see that it runs (systemctl start podway-agent, "
        "or podway agent), then repeat the call"
    )


def _version() -> str:
    from podway.cni.versions import PODWAY_VERSIONS, render_version  # noqa: PLC0415

    return render_version(PODWAY_VERSIONS)


def _about() -> str:
    from podway.cni.versions import PODWAY_VERSIONS  # noqa: PLC0415

    return (
        f"podway CNI plugin {__version__}: attaches a container to podway's network\n"
        f"CNI protocol versions supported: {', '.join(PODWAY_VERSIONS)}\n"
    )
