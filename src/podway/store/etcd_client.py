"""Calls to an etcd cluster through its JSON gateway: which member, as whom, and what a refusal is.

In: one request. Out: its answer, or a `StoreError`. The gateway is HTTP/1.1 at the client port of
every etcd since 3.4 (paths under /v3); it speaks gRPC to its own member. What gRPC clients send as
metadata goes into headers: the token as ``Authorization``, and ``hasleader``, by which a member
that has lost its leader ends a watch at once instead of telling old news.

A member that cannot be reached, or has no leader, is passed over for the next one, each once per
call. A call that ends with `StoreAway` may or may not have been carried out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from msgspec import Struct

from podway.model.secret import Secret
from podway.store.counts import StoreCounts
from podway.store.etcd_messages import (
    AuthenticateRequest,
    AuthenticateResponse,
    GrantRequest,
    Header,
    LeaseRequest,
    LeaseResponse,
    RangeRequest,
    RangeResponse,
    Streamed,
    TxnRequest,
    TxnResponse,
    WatchCreate,
    WatchRequest,
    WatchResponse,
    decode,
    encode,
)
from podway.store.etcd_refusals import (
    EtcdRefused,
    GrpcCode,
    asks_for_login,
    describe_stranger,
    error_of,
    fault_in,
)
from podway.store.http_client import HttpClient, HttpExchange, HttpRequest
from podway.store.protocol import StoreAway
from podway.store.refusals import NotAllowed
from podway.store.renewed import Renewed

T = TypeVar("T")
_LINE_MAX_BYTES = 64 << 20


class Login(Struct, frozen=True):
    """Whom to log in as, and how to prove it now; no *user*: nobody."""

    user: str
    password: Renewed[Secret]


class EtcdClient:
    """Members of one cluster, tried in turn.

    Args:
        members: returns a client for each; asked before every call, since files of keys and
            certificates may have been renewed.
        login: whom to log in as.
        request_s: for one call, whatever members it takes.

    Attributes:
        counts: what was sent.
    """

    def __init__(
        self,
        members: Callable[[], tuple[HttpClient, ...]],
        login: Login,
        counts: StoreCounts,
        *,
        request_s: float,
    ) -> None:
        self._members = members
        self._login = login
        self._request_s = request_s
        self._current = 0
        self._token = ""
        self._doubts_token = False
        self.counts = counts

    def recheck(self) -> None:
        """End what is under way from addresses that this machine has lost."""
        for member in self._members():
            member.recheck()

    # -- calls

    async def range(self, request: RangeRequest) -> RangeResponse:
        """Read keys."""
        return await self._call("/v3/kv/range", request, RangeResponse)

    async def txn(self, request: TxnRequest) -> TxnResponse:
        """Carry out a transaction."""
        return await self._call("/v3/kv/txn", request, TxnResponse)

    async def grant(self, ttl_s: int) -> int:
        """Make a lease of *ttl_s*; return its number."""
        granted = await self._call("/v3/lease/grant", GrantRequest(ttl_s), LeaseResponse)
        return granted.ID

    async def keep_alive(self, lease: int) -> int:
        """Start the lease's time anew; return its time to live in seconds, 0 when it is gone."""
        reply = await self._call("/v3/lease/keepalive", LeaseRequest(lease), Streamed)
        return max(0, _decode(LeaseResponse, reply.result).TTL)

    async def time_to_live(self, lease: int) -> LeaseResponse:
        """Return how long a lease has, and had."""
        return await self._call("/v3/lease/timetolive", LeaseRequest(lease), LeaseResponse)

    async def revoke(self, lease: int) -> None:
        """End a lease, and every key that it holds. No error when there is none."""
        try:
            await self._call("/v3/lease/revoke", LeaseRequest(lease), LeaseResponse)
        except EtcdRefused as error:
            if error.code != GrpcCode.NOT_FOUND:
                raise

    @asynccontextmanager
    async def watch(
        self, create: WatchCreate, silence_s: float
    ) -> AsyncIterator[AsyncIterator[WatchResponse]]:
        """Open a watch at the current member; what is yielded ends only with an error.

        Raises:
            StoreAway: the member is away, has no leader (any more), or was silent for *silence_s*.
            StoreError: the watch is refused.
        """
        if self._doubts_token:
            # Only a call says that a token has ended; a watch is just cancelled for it.
            self._doubts_token = False
            await self.check_current(create.key)
        http = self._member()
        async with http.open(await self._request("/v3/watch", WatchRequest(create))) as exchange:
            if exchange.status != 200:
                self._doubts_token = bool(self._token)
                self._refuse(http, exchange.status, await exchange.body(_LINE_MAX_BYTES))
            yield self._responses(http, exchange, silence_s)

    async def check_current(self, key: bytes) -> Header:
        """Ask the current member for *key*; return where a majority is. Raises StoreAway."""
        request = RangeRequest(key=key, count_only=True)
        return (await self._ask(self._member(), "/v3/kv/range", request, RangeResponse)).header

    def rotate(self) -> None:
        """Let the next member be the current one."""
        self._current += 1

    # -- one call

    async def _call(self, path: str, request: Struct, kind: type[T]) -> T:
        """Ask one member after the other; each has its share of the time that is left."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._request_s
        for left in range(len(self._members()), 1, -1):
            share_s = (until_s - loop.time()) / left
            try:
                return await self._ask_within(share_s, path, request, kind)
            except StoreAway:
                self.rotate()
        return await self._ask_within(until_s - loop.time(), path, request, kind)

    async def _ask_within(self, limit_s: float, path: str, request: Struct, kind: type[T]) -> T:
        http = self._member()
        try:
            async with asyncio.timeout(limit_s):
                return await self._ask(http, path, request, kind)
        except TimeoutError as error:
            raise StoreAway(f"{http.server}: no answer within {limit_s:.2g} s") from error

    async def _ask(self, http: HttpClient, path: str, request: Struct, kind: type[T]) -> T:
        try:
            return await self._ask_once(http, path, request, kind)
        except (EtcdRefused, NotAllowed) as error:
            if not self._login.user or not asks_for_login(error):
                raise
            self._token = ""  # it has expired, or users have changed since
            return await self._ask_once(http, path, request, kind)

    async def _ask_once(self, http: HttpClient, path: str, request: Struct, kind: type[T]) -> T:
        reply = await http.call(await self._request(path, request))
        if reply.status != 200:
            self._refuse(http, reply.status, reply.body)
        try:
            return decode(kind, reply.body)
        except msgspec.DecodeError as error:
            raise StoreAway(f"{http.server}: {path}: cannot be read: {error}") from error

    async def _request(self, path: str, request: Struct) -> HttpRequest:
        self.counts.requests += 1
        headers = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
        if self._login.user:
            headers["Authorization"] = self._token or await self._log_in()
        return HttpRequest(method="POST", target=path, headers=headers, body=encode(request))

    async def _log_in(self) -> str:
        http = self._member()
        login = AuthenticateRequest(self._login.user, self._login.password.now().value)
        request = HttpRequest(method="POST", target="/v3/auth/authenticate", body=encode(login))
        self.counts.requests += 1
        reply = await http.call(request)
        if reply.status != 200:
            self._refuse_login(http, reply.status, reply.body)
        self._token = _decode(AuthenticateResponse, reply.body).token
        return self._token

    def _refuse_login(self, http: HttpClient, status: int, body: bytes) -> None:
        try:
            self._refuse(http, status, body)
        except EtcdRefused as error:
            if error.code == GrpcCode.FAILED_PRECONDITION:
                rule = f"does not ask for users: leave {self._login.user!r} out"
                raise NotAllowed(f"{http.server}: etcd {rule} ({error})") from error
            raise NotAllowed(f"user {self._login.user!r}: {error}") from error

    def _member(self) -> HttpClient:
        members = self._members()
        return members[self._current % len(members)]

    def _refuse(self, http: HttpClient, status: int, body: bytes) -> None:
        fault = fault_in(body)
        if fault is None:
            raise StoreAway(f"{http.server}: {describe_stranger(status, body)}")
        refusal = error_of(f"{http.server}", fault)
        if isinstance(refusal, NotAllowed):
            user = self._login.user
            whom = f"user {user!r} needs a role for it" if user else "name a user (--store-user)"
            raise NotAllowed(f"{refusal}: {whom}")
        raise refusal

    async def _responses(
        self, http: HttpClient, exchange: HttpExchange, silence_s: float
    ) -> AsyncIterator[WatchResponse]:
        async for line in _lines(exchange, silence_s):
            streamed = _decode(Streamed, line)
            if streamed.error is not None:
                self._doubts_token = bool(self._token)
                raise error_of(f"{http.server}: watch", streamed.error)
            response = _decode(WatchResponse, streamed.result)
            self._doubts_token = response.canceled and bool(self._token)
            yield response
        raise StoreAway(f"{http.server}: the watch ended")


def _decode(kind: type[T], text: bytes | msgspec.Raw) -> T:
    try:
        return decode(kind, text)
    except msgspec.DecodeError as error:
        raise StoreAway(f"etcd sent what cannot be read: {error}") from error


async def _lines(exchange: HttpExchange, silence_s: float) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in exchange.chunks(silence_s=silence_s):
        *whole, last = chunk.split(b"\n")
        for line in whole:
            yield bytes(rest) + line
            rest.clear()
        rest += last
        if len(rest) > _LINE_MAX_BYTES:
            raise StoreAway(f"a message of more than {_LINE_MAX_BYTES} bytes")
