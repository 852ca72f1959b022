"""How the ``podway`` executable and the agent speak: where, and in what frames.

One request and one response over a Unix stream socket, each a frame::

    +--------+--------+--------+--------+----------------------
    |   length of the payload, 4 bytes  |  payload: JSON, UTF-8
    |            big-endian             |
    +--------+--------+--------+--------+----------------------

    request   {"v": 1, "env": {"CNI_COMMAND": "ADD", ...}, "stdin": "{...}"}
    response  {"code": 0, "stdout": "{...}"}

With the first byte of a request travels the open network namespace (``SCM_RIGHTS``): exactly one
descriptor for ADD and CHECK, one or none for DEL, whose namespace may be gone, none for the rest.
So the agent need not see the runtime's mount namespace, where CNI_NETNS is a path.

Pure; the executable (`podway.plugins.podway`) and the agent bring the sockets. Whatever arrives,
nothing but `FrameError` is raised.
"""

from _json import encode_basestring, make_encoder

from podway.cni.documents import decode
from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.errors import PodwayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

DEFAULT_AGENT_SOCKET: "Final" = "/run/podway/cni.sock"
# sizeof(sun_path) less the closing zero byte, unix(7).
MAX_SOCKET_PATH_BYTES: "Final" = 107

PROTOCOL: "Final" = 1
HEADER_BYTES: "Final" = 4
# A configuration of 1 MiB (documents.MAX_DOCUMENT_BYTES), its quotes escaped.
MAX_REQUEST_BYTES: "Final" = 2 << 20
MAX_RESPONSE_BYTES: "Final" = 2 << 20
_CHUNK_BYTES: "Final" = 1 << 16

# How many descriptors come with each command.
_DESCRIPTORS: "Final" = {"ADD": (1,), "CHECK": (1,), "DEL": (0, 1)}


class FrameError(PodwayError):
    """A peer does not speak as the module says.

    Attributes:
        kind: "size", "syntax", "shape" or "descriptors".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class FrameBuffer:
    """Collects the bytes of one frame, as they come.

    Attributes:
        wanted_bytes: how many to read next; never more than belong to the frame.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._received = bytearray()
        self._frame_bytes = HEADER_BYTES

    @property
    def wanted_bytes(self) -> int:
        """How many bytes to read next, 0 when the frame is complete."""
        return min(self._frame_bytes - len(self._received), _CHUNK_BYTES)

    @property
    def empty(self) -> bool:
        """Nothing has come yet: a peer that closes now has said nothing."""
        return not self._received

    def feed(self, data: bytes) -> bytes | None:
        """Take *data* in; return the payload once it is complete, None before.

        Raises:
            FrameError: the frame is too long or empty, or *data* goes beyond it.
        """
        self._received += data
        if self._frame_bytes == HEADER_BYTES and len(self._received) >= HEADER_BYTES:
            self._frame_bytes += payload_bytes(self._received[:HEADER_BYTES], self._limit_bytes)
        missing = self._frame_bytes - len(self._received)
        if missing < 0:
            raise FrameError(
                "size", f"{-missing} bytes follow the frame: one frame is all there is"
            )
        return bytes(self._received[HEADER_BYTES:]) if missing == 0 else None


def payload_bytes(header: bytes | bytearray, limit_bytes: int) -> int:
    """Return the length of the payload that a *header* of `HEADER_BYTES` announces.

    Raises:
        FrameError: it is 0 or more than *limit_bytes*.
    """
    size = int.from_bytes(header, "big")
    if not 0 < size <= limit_bytes:
        raise FrameError("size", f"a frame announces {size} bytes: must be 1 to {limit_bytes}")
    return size


def encode_request(environment: "Mapping[str, str]", stdin: str) -> bytes:
    """Return the frame that passes a plugin's input on to the agent.

    Raises:
        FrameError: it is longer than `MAX_REQUEST_BYTES`, or holds text that UTF-8 cannot say.
    """
    return _frame({"v": PROTOCOL, "env": environment, "stdin": stdin}, MAX_REQUEST_BYTES)


def decode_request(payload: bytes) -> tuple[dict[str, str], bytes]:
    """Return environment and standard input, as `requests.parse_request` takes them.

    Raises:
        FrameError: not a request, or one of another protocol.
    """
    document = _decode(payload, "request", MAX_REQUEST_BYTES)
    if document.get("v") != PROTOCOL:
        message = f"a request of protocol {document.get('v')!r}: this agent speaks {PROTOCOL}"
        raise FrameError("shape", f"{message}; run 'podway cni install' of the agent's version")
    environment, stdin = document.get("env"), document.get("stdin")
    if not isinstance(environment, dict) or not isinstance(stdin, str):
        raise FrameError("shape", "a request must have an object env and a string stdin")
    if not all(isinstance(value, str) for value in environment.values()):
        raise FrameError("shape", "every value in a request's env must be a string")
    return environment, _utf8(stdin)


def encode_response(code: int, stdout: str) -> bytes:
    """Return the frame that tells a plugin its exit code and what to print.

    Raises:
        FrameError: it is longer than `MAX_RESPONSE_BYTES`, or holds text that UTF-8 cannot say.
    """
    return _frame({"code": code, "stdout": stdout}, MAX_RESPONSE_BYTES)


def decode_response(payload: bytes) -> tuple[int, str]:
    """Return exit code (0 to 255) and standard output.

    Raises:
        FrameError: not a response.
    """
    document = _decode(payload, "response", MAX_RESPONSE_BYTES)
    code, stdout = document.get("code"), document.get("stdout")
    if type(code) is not int or not 0 <= code <= 255 or not isinstance(stdout, str):
        raise FrameError("shape", "a response must have a code of 0 to 255 and a string stdout")
    _utf8(stdout)
    return code, stdout


def check_descriptors(command: str, count: int) -> None:
    """Refuse a request that does not come with as many descriptors as its *command* needs.

    Raises:
        FrameError: says how many.
    """
    right = _DESCRIPTORS.get(command, (0,))
    if count not in right:
        numbers = " or ".join(map(str, right))
        raise FrameError("descriptors", f"{command} with {count} descriptors: must be {numbers}")


def parse_socket_path(value: object, default: str) -> str:
    """Return the path of the agent's socket that a configuration's ``agentSocket`` names.

    Raises:
        CniError: INVALID_CONFIG.
    """
    if value is None:
        return default
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise broken_rule("agentSocket", value, "must be an absolute path", INVALID_CONFIG)
    if len(value.encode(errors="replace")) > MAX_SOCKET_PATH_BYTES or not _is_utf8(value):
        rule = f"must be UTF-8 of at most {MAX_SOCKET_PATH_BYTES} bytes: unix(7)"
        raise broken_rule("agentSocket", value, rule, INVALID_CONFIG)
    return value


def _is_utf8(text: str) -> bool:
    return text.encode(errors="replace").decode() == text


def _refuse_type(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no place in a frame")


# As documents.encode, but text stays UTF-8: \uXXXX would make six bytes out of two.
_NO = False
_encoder = make_encoder(None, _refuse_type, encode_basestring, None, ":", ",", _NO, _NO, _NO)


def _frame(document: "Mapping[str, Any]", limit_bytes: int) -> bytes:
    payload = _utf8("".join(_encoder(document, 0)))
    if len(payload) > limit_bytes:
        raise FrameError("size", f"a frame of {len(payload)} bytes: must be at most {limit_bytes}")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise FrameError("syntax", f"text that UTF-8 cannot say: {error.reason}") from None


def _decode(payload: bytes, what: str, limit_bytes: int) -> "dict[str, Any]":
    try:
        return decode(payload, what, limit_bytes)
    except CniError as error:
        raise FrameError("syntax", error.msg) from None
