"""The few requests that podway makes of a Kubernetes API server: list, watch, get, patch Nodes.

In: a login. Out: `NodeRecord`s and `WatchEvent`s, or an error that says whether asking again can
help. Hard is everything between the two: answers that say "later" (429 and 5xx, with a Retry-After
that holds for every request from here), tokens that were replaced, lists in pages, watches that end
in the middle of a line.

Source: Kubernetes API concepts (efficient detection of changes, resource versions, large lists);
RFC 9110 section 10.2.3 (Retry-After).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import quote, urlencode

from msgspec import Struct

from podway import __version__
from podway.store.counts import StoreCounts
from podway.store.http_client import HttpClient, HttpExchange, HttpReply, HttpRequest
from podway.store.kube_login import KubeLogin
from podway.store.kube_objects import (
    ApiStatus,
    NodePage,
    NodeRecord,
    Unreadable,
    WatchEvent,
    WatchFailed,
    decode_event,
    decode_node,
    decode_page,
    decode_pod_node,
    decode_status,
)
from podway.store.protocol import StoreAway, StoreError
from podway.store.refusals import Conflict, NotAllowed
from podway.store.renewed import Renewed

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
_NODES = "/api/v1/nodes"
# No answer of ours is longer but a list; etcd itself takes no object above 1.5 MiB.
_LINE_MAX_BYTES = 4 << 20
_ERROR_MAX_BYTES = 64 << 10
# Longer than that nobody waits because a header says so.
_RETRY_AFTER_MAX_S = 60.0

Query: TypeAlias = Mapping[str, str | int]


class Gone(StoreError):  # noqa: N818  (as HTTP calls it)
    """The API server no longer knows what happened since that revision: list anew."""


class NoSuchNode(StoreError):  # noqa: N818
    """There is no Node of that name."""


# What a request like this will never be answered with otherwise, and what may pass.
_ERRORS = {403: NotAllowed, 404: NoSuchNode, 409: Conflict, 410: Gone}
_AGAIN = {401, 408, 429}


class KubeApiOptions(Struct, frozen=True, kw_only=True):
    """How to ask.

    Attributes:
        page: Nodes in one answer; a list of more takes several. Kubernetes is made for 5,000 at
            most, so a join is one list.
        list_s: seconds for one page.
        watch_s: how long one watch lasts before it is resumed, between half of this and all.
        silence_s: a watch without a word for so long is dead (bookmarks come every minute).
    """

    page: int = 5000
    list_s: float = 60.0
    watch_s: float = 600.0
    silence_s: float = 180.0


class KubeApi:
    """One API server, asked with one login, for Nodes whose annotations begin with *prefix*.

    The login is looked at for every request, since each makes a connection of its own.

    Attributes:
        counts: how many requests were made.
    """

    def __init__(
        self,
        login: Renewed[KubeLogin],
        prefix: str,
        options: KubeApiOptions | None = None,
        counts: StoreCounts | None = None,
    ) -> None:
        self.counts = counts or StoreCounts()
        self._login = login
        self._prefix = prefix
        self._options = options or KubeApiOptions()
        self._http = HttpClient(login.now().server)
        self._quiet_until_s = 0.0

    def __str__(self) -> str:
        return str(self._http.server)

    def recheck(self) -> None:
        """End what is under way from addresses that this machine has lost."""
        self._http.recheck()

    @property
    def quiet_s(self) -> float:
        """For how many seconds the API server wants to be left alone."""
        return max(0.0, self._quiet_until_s - asyncio.get_running_loop().time())

    async def list_nodes(self, not_older_than: int = 0) -> tuple[list[NodeRecord], int]:
        """Return every Node, and the revision of which the list is.

        Args:
            not_older_than: a revision that has been seen: any younger list will do, which the API
                server then has in memory. 0: the newest, which it must read from etcd, in pages.

        Raises:
            Gone: the list changed too much while it was read; start again.
            StoreError, StoreAway: as everywhere.
        """
        records: list[NodeRecord] = []
        query: dict[str, str | int] = {"limit": self._options.page}
        if not_older_than:
            query = {
                "resourceVersion": not_older_than,
                "resourceVersionMatch": "NotOlderThan",
            }
        while True:
            page = await self._page(query)
            records += page.records
            if not page.next_page:
                return records, page.revision
            query = {"limit": self._options.page, "continue": page.next_page}

    async def current_revision(self) -> int:
        """Return the revision at which the API server's own store is now."""
        return (await self._page({"limit": 1})).revision

    async def get_node(self, name: str) -> NodeRecord:
        """Return the Node *name*. Raises `NoSuchNode`."""
        reply = await self._call("GET", _path(name))
        return decode_node(reply.body, self._prefix)

    async def node_of_pod(self, namespace: str, name: str) -> str:
        """Return the name of the Node on which a pod runs. Raises `NoSuchNode` without such a pod.

        (flannel's manifest tells its daemon the pod's name and not the Node's.)
        """
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
        return decode_pod_node((await self._call("GET", path)).body)

    async def patch_status(self, name: str, patch: bytes) -> NodeRecord:
        """Apply the strategic merge *patch* to the Node's status; return the Node as it is then.

        Raises:
            NoSuchNode: there is none.
            Conflict: the patch names another uid; the Node was made anew.
        """
        reply = await self._call("PATCH", f"{_path(name)}/status", body=patch)
        return decode_node(reply.body, self._prefix)

    @asynccontextmanager
    async def watch_nodes(self, revision: int) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Watch what happens after *revision*; the events end when the API server wants so.

        Raises:
            Gone: that is too long ago.
            StoreAway: there is no connection, or it broke off.
        """
        lasting_s = self._options.watch_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load)
        query: Query = {
            "watch": 1,
            "allowWatchBookmarks": "true",
            "resourceVersion": revision,
            "timeoutSeconds": max(1, int(lasting_s)),
        }
        async with self._http.open(self._request("GET", _NODES, query)) as exchange:
            if exchange.status != 200:
                body = await exchange.body(_ERROR_MAX_BYTES)
                raise self._refusal(HttpReply(exchange.status, exchange.headers, body), "watch")
            yield self._events(exchange)

    async def _events(self, exchange: HttpExchange) -> AsyncIterator[WatchEvent]:
        rest = bytearray()
        async for chunk in exchange.chunks(silence_s=self._options.silence_s):
            first, *others = chunk.split(b"\n")
            rest += first
            if len(rest) > _LINE_MAX_BYTES:
                raise StoreAway(f"{self}: watch: event of more than {_LINE_MAX_BYTES} bytes")
            for following in others:
                event = self._event(bytes(rest))
                rest = bytearray(following)
                if event is not None:
                    yield event
        if rest:
            raise StoreAway(f"{self}: watch: ended in the middle of an event")

    def _event(self, line: bytes) -> WatchEvent | None:
        if not line.strip():
            return None
        try:
            return decode_event(line, self._prefix)
        except Unreadable as error:
            raise StoreAway(f"{self}: watch: {error}") from error
        except WatchFailed as error:
            raise self._error(error.status.code, error.status, "watch", 0.0) from error

    async def _page(self, query: Query) -> NodePage:
        reply = await self._call("GET", _NODES, query, answer_s=self._options.list_s)
        return decode_page(reply.body, self._prefix)

    async def _call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: bytes = b"",
        answer_s: float | None = None,
    ) -> HttpReply:
        request = self._request(method, path, query or {}, body)
        reply = await self._http.call(request, answer_s=answer_s)
        if reply.status >= 300:
            raise self._refusal(reply, f"{method} {path}")
        return reply

    def _request(self, method: str, path: str, query: Query, body: bytes = b"") -> HttpRequest:
        if self.quiet_s:
            raise StoreAway(f"{self}: wants no requests for {self.quiet_s:.0f} s")
        self.counts.requests += 1
        login = self._login.now()
        self._http.use(login.server)
        headers = {
            "Accept": "application/json",
            "User-Agent": f"podway/{__version__}",
            **({"Content-Type": STRATEGIC_MERGE} if body else {}),
            **login.headers(),
        }
        target = f"{login.path}{path}" + (f"?{urlencode(query)}" if query else "")
        return HttpRequest(method=method, target=target, headers=headers, body=body)

    def _refusal(self, reply: HttpReply, what: str) -> StoreError:
        status = decode_status(reply.body)
        if status is None or not (status.message or status.reason):
            text = reply.body[:100].decode("utf-8", "replace").strip()
            status = ApiStatus(code=reply.status, message=text)
        return self._error(reply.status, status, what, _retry_after_s(reply.headers))

    def _error(self, code: int, status: ApiStatus, what: str, wait_s: float) -> StoreError:
        """Return the error for an answer, and keep quiet for as long as it asks for."""
        now_s = asyncio.get_running_loop().time()
        self._quiet_until_s = max(self._quiet_until_s, now_s + wait_s)
        text = f"{self}: {what}: {code} {status.message or status.reason}"
        if code == 401:
            text += ": the API server does not take our token or certificate"
        again = code in _AGAIN or not 400 <= code < 500
        return StoreAway(text) if again else _ERRORS.get(code, StoreError)(text)


def _path(name: str) -> str:
    return f"{_NODES}/{quote(name, safe='')}"


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return how long to wait; the header's other form, a date, is nobody's here."""
    text = headers.get("retry-after", "")
    return min(float(text), _RETRY_AFTER_MAX_S) if text.isdigit() and text.isascii() else 0.0
