"""The daemon's socket: requests of executables in, the service's answers out.

In: frames (`podway.cni.frames`) with the container's namespace. Out: frames with a result in the
newest version of the protocol; the executable renders it in the version of its configuration.
"""

import socket

from podway.cni.errors import INTERNAL, CniError
from podway.cni.frames import FrameError, check_descriptors, decode_request, encode_response
from podway.cni.requests import parse_request
from podway.cni.results import render_result
from podway.cni.versions import ALL, NEWEST
from podway.dhcp.service import DhcpService
from podway.kernel.frame_server import FrameServer, encode_failure
from podway.kernel.logs import get_log

_log = get_log("podway.dhcp")


def dhcp_server(listener: socket.socket, service: DhcpService) -> FrameServer:
    """Return the server of *service* on *listener*."""

    async def answer(payload: bytes, descriptors: list[int]) -> bytes:
        return await _answer(service, payload, descriptors)

    return FrameServer(listener, answer, _log)


async def _answer(service: DhcpService, payload: bytes, descriptors: list[int]) -> bytes:
    """Return the response frame for the request in *payload*.

    Raises:
        FrameError: it is no request.
    """
    environment, stdin = decode_request(payload)
    try:
        request = parse_request(environment, stdin, ALL)
        check_descriptors(request.command, len(descriptors))
        result = await service.serve(request, descriptors[0] if descriptors else None)
        return encode_response(0, render_result(result, NEWEST) if result is not None else "")
    except CniError as error:
        command = environment.get("CNI_COMMAND", "")
        _log.warning("refused", command=command, code=error.code, reason=str(error))
        return encode_failure(error, NEWEST)
    except FrameError:
        raise
    except Exception as error:  # noqa: BLE001 - the executable must get an answer
        _log.exception("fault")
        return encode_failure(CniError(INTERNAL, repr(error)), NEWEST)
