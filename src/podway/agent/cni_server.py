"""The socket that the CNI executable calls: one frame in, with the pod's namespace; one frame out.

Whatever comes in over it, `podway.kernel.frame_server` bounds; here a request becomes an answer.
"""

import socket
import time
from pathlib import Path

from podway.agent.attachments import Attachments
from podway.agent.metrics import Metrics
from podway.cni.errors import INTERNAL, CniError
from podway.cni.frames import FrameError, check_descriptors, decode_request, encode_response
from podway.cni.requests import parse_request
from podway.cni.results import render_result
from podway.cni.versions import NEWEST, PODWAY_VERSIONS
from podway.kernel import frame_server
from podway.kernel.frame_server import FrameServer, encode_failure, is_trusted
from podway.kernel.logs import get_log

__all__ = ["CniServer", "is_trusted", "listen"]


class CniServer:
    """Serves CNI requests on a Unix socket.

    Args:
        path: of the socket; an old one there is replaced.
        attachments: what carries requests out.
    """

    def __init__(self, path: Path, attachments: Attachments, metrics: Metrics) -> None:
        self._path = path
        self._attachments = attachments
        self._metrics = metrics
        self._log = get_log("podway.agent.cni")

    async def run(self) -> None:
        """Listen until cancelled; then let the calls under way come to their end."""
        with listen(self._path) as listener:
            server = FrameServer(listener, self._answer, self._log)
            await server.run(on_end=lambda: self._path.unlink(missing_ok=True))

    async def _answer(self, payload: bytes, descriptors: list[int]) -> bytes:
        """Return the response frame for the request in *payload*."""
        started = time.monotonic()
        environment, stdin = decode_request(payload)
        command = environment.get("CNI_COMMAND", "")
        version = NEWEST
        try:
            request = parse_request(environment, stdin, PODWAY_VERSIONS)
            version = request.config.cni_version
            check_descriptors(command, len(descriptors))
            fd = descriptors[0] if descriptors else None
            result = await self._attachments.serve(request, fd)
            text = render_result(result, version) if result is not None else ""
            answer, outcome = encode_response(0, text), "ok"
        except CniError as error:
            self._log.warning("refused", command=command, code=error.code, reason=str(error))
            answer, outcome = encode_failure(error, version), str(error.code)
        except FrameError:
            raise
        except Exception as error:  # noqa: BLE001  (the runtime must get an answer)
            self._log.exception("fault", command=command)
            defect = CniError(INTERNAL, repr(error))
            answer, outcome = encode_failure(defect, version), str(INTERNAL)
        known = command if command in ("ADD", "DEL", "CHECK", "GC", "STATUS") else "other"
        self._metrics.cni(known, outcome, time.monotonic() - started)
        return answer


def listen(path: Path) -> socket.socket:
    """Return a listening Unix socket in the directory of ``--run-dir``, which is made if missing.

    Raises:
        ConfigError: it cannot be there.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    return frame_server.listen(path, "--run-dir")
