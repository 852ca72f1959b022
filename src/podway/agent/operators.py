"""The socket that people's commands call: status, diff and the address book, as JSON.

One call per connection: a length of four bytes (big-endian) and a JSON object, answered the same
way. Root only. `podway.agent.calls` is the other end.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from podway.agent.agent import Agent
from podway.agent.attachments import Attachments
from podway.agent.cni_server import is_trusted, listen
from podway.agent.health import not_ready_reasons
from podway.agent.views import view_addresses, view_diff, view_status
from podway.errors import PodwayError
from podway.kernel.logs import get_log

MAX_CALL_BYTES = 1 << 16
CALL_S = 10.0

Call: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class CallRequest(msgspec.Struct):
    """What a caller sends."""

    call: str
    arguments: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(CallRequest)


class CallRefused(PodwayError):  # noqa: N818
    """The call cannot be carried out; the text is for the person who made it."""


class Operators:
    """Serves operators' calls on a Unix socket."""

    def __init__(self, path: Path, agent: Agent, attachments: Attachments) -> None:
        self._path = path
        self._agent = agent
        self._attachments = attachments
        self._log = get_log("podway.agent.operators")
        self._calls: dict[str, Call] = {
            "status": self._status,
            "diff": self._diff,
            "ipam.show": self._ipam_show,
            "ipam.check": self._ipam_check,
            "ipam.release": self._ipam_release,
        }

    async def run(self) -> None:
        """Listen until cancelled."""
        with listen(self._path) as listener:
            server = await asyncio.start_unix_server(self._serve, sock=listener)
            try:
                async with server:
                    await server.serve_forever()
            finally:
                self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if is_trusted(writer.get_extra_info("socket")):
                async with asyncio.timeout(CALL_S):
                    answer = await self._answer(await _read_frame(reader))
                    writer.write(len(answer).to_bytes(4, "big") + answer)
                    await writer.drain()
        except (OSError, EOFError, TimeoutError) as error:
            self._log.debug("caller lost", reason=repr(error))
        finally:
            writer.close()

    async def _answer(self, payload: bytes) -> bytes:
        try:
            call, arguments = self._parse(payload)
            answer: dict[str, Any] = {"ok": True, "result": await call(arguments)}
        except PodwayError as error:
            answer = {"ok": False, "error": str(error)}
        except Exception as error:  # noqa: BLE001  (the caller must get an answer)
            self._log.exception("fault")
            answer = {"ok": False, "error": f"a defect of the agent, see its log: {error!r}"}
        return msgspec.json.encode(answer)

    def _parse(self, payload: bytes) -> tuple[Call, dict[str, Any]]:
        try:
            request = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            rule = "must be an object with the name of a call and its arguments"
            raise CallRefused(f"not a call ({error}): {rule}") from error
        call = self._calls.get(request.call)
        if call is None:
            raise CallRefused(f"call {request.call!r} is none of {', '.join(self._calls)}")
        return call, request.arguments

    async def _status(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        return view_status(self._agent, not_ready_reasons(self._agent), time.monotonic())

    async def _diff(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"operations": view_diff(await self._agent.preview())}

    async def _ipam_show(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        return view_addresses(self._agent, time.time(), time.monotonic())

    async def _ipam_check(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        endpoints = self._agent.endpoints
        problems = [
            {
                "address": str(address),
                "problem": f"held by {endpoint.key}, whose namespace {endpoint.netns} is gone",
                "what_to_do": f"wait for the runtime's DEL, or: podway ipam release {address}",
            }
            for endpoint in endpoints
            if endpoints.is_detached(endpoint.key) or not endpoints.still_there(endpoint.key)
            for address in endpoint.addresses
        ]
        problems += [
            {
                "address": str(address),
                "problem": f"held by {endpoint.key}, outside of this node's subnets",
                "what_to_do": "the node got another subnet: recreate the pod",
            }
            for endpoint in endpoints
            for address in endpoint.addresses
            if not any(address in pool.subnet for pool in self._agent.ipam.pools.values())
        ]
        held = self._agent.ledger.addresses()
        known = {address for endpoint in endpoints for address in endpoint.addresses}
        problems += [
            {
                "address": str(row.address),
                "problem": f"held by {row.key}, which no endpoint of this node is",
                "what_to_do": f"podway ipam release {row.address}",
            }
            for row in held
            if row.released_at is None and row.address not in known
        ]
        return {"problems": problems, "checked": len(held)}

    async def _ipam_release(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        text = arguments.get("address")
        try:
            address = ip_address(str(text))
        except ValueError as error:
            raise CallRefused(f"address = {text!r}: must be an IP address") from error
        held = [row for row in self._agent.ledger.addresses() if row.released_at is None]
        key = next((row.key for row in held if row.address == address), None)
        if key is None:
            raise CallRefused(f"address {address} is held by nobody on this node")
        endpoint = self._agent.endpoints.get(key)
        if endpoint is None:
            self._agent.ipam.remove(key, [row.address for row in held if row.key == key])
        elif self._agent.endpoints.still_there(key):
            raise CallRefused(f"address {address} is in use: the namespace {endpoint.netns} exists")
        else:
            await self._attachments.remove(key)
        return {"released": str(address), "endpoint": str(key)}


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_CALL_BYTES:
        raise EOFError(f"a call announces {length} bytes, more than {MAX_CALL_BYTES}")
    return await reader.readexactly(length)
