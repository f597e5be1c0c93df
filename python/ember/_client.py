"""The HTTP client: every request the SDK and the command line make goes through here.

The blocking side is on plain sockets with kept-alive connections; httpx is imported by the first
asynchronous call. Failures come out as `ember.exception` types.
"""

from __future__ import annotations

from ember import _config, _http, _items, _json
from ember.exception import InternalError, NotEnded, UnavailableError, from_error_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
    from typing import Any
    from weakref import WeakKeyDictionary

    import httpx

    from ember._watching import Watcher
    from ember._websocket import WebSocket

JSON = "application/json"
PICKLE = "application/x-ember-pickle"
_ACCEPTED = 202  # of HTTP: it has not ended
_TIMEOUT_S = 60.0  # of everything that isn't a call or a stream


class Reply:
    """An answer of 2xx: headers with names in lower case, and the body."""

    __slots__ = ("body", "headers", "items", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        # A generator function's, in the place of a body. Closing them cancels the call.
        self.items: Generator[bytes, None, None] | None = None


class Client:
    """Speaks to one server. Safe to share between threads."""

    def __init__(self, config: _config.Config | None = None) -> None:
        self.config = config or _config.load()
        scheme, _, rest = self.config.url.partition("://")
        authority, _, prefix = rest.partition("/")
        host, _, port = authority.rpartition(":")
        if scheme not in ("http", "https") or not authority:
            raise UnavailableError(
                f"{self.config.url!r} is not a server's URL; set EMBER_URL to http://HOST:PORT"
            )
        if not host or port.endswith("]"):
            host, port = authority, "443" if scheme == "https" else "80"
        self._address = (host.strip("[]"), int(port), scheme == "https")
        self._prefix = f"/{prefix}" if prefix else ""
        # Told the response headers of each call that was answered, also of failed ones.
        self.on_call: Callable[[dict[str, str]], None] | None = None
        self._head = f"Host: {authority}\r\nAuthorization: Bearer {self.config.key}\r\n"
        self._idle: list[_http.Connection] = []
        self._async: WeakKeyDictionary[AbstractEventLoop, httpx.AsyncClient] | None = None

    def get_json(self, path: str, /, **query: object) -> Any:
        """GET, with the query's values that aren't None; the decoded answer."""
        return _json.loads(self._request("GET", path + encode_query(query)).body)

    def post_json(self, path: str, body: object = None) -> Any:
        """POST of a JSON document (by default `{}`); the decoded answer."""
        data = _json.dumps({} if body is None else body).encode()
        return _json.loads(self._request("POST", path, (data,), JSON).body)

    def delete_json(self, path: str, **query: object) -> Any:
        """DELETE, with the query's values that aren't None; the decoded answer."""
        return _json.loads(self._request("DELETE", path + encode_query(query)).body)

    def upload(self, path: str, data: bytes) -> None:
        """PUT of bytes as they are."""
        self._request("PUT", path, (data,), "application/octet-stream")

    def send_bytes(self, method: str, path: str, *data: bytes) -> Any:
        """Bytes as they are, one after the other; the decoded answer."""
        return _json.loads(self._exchange_checked(method, path, data).body)

    def exchange(self, method: str, path: str, *data: bytes) -> bytes:
        """Bytes as they are, one after the other; the answer as it is, whenever it comes."""
        return self._exchange_checked(method, path, data).body

    async def exchange_async(self, method: str, path: str) -> bytes:
        """The same on the running event loop, without a body. Cancelling the task hangs up."""
        import httpx

        try:
            answer = await self._async_client().request(method, self.config.url + path)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        return _checked(Reply(answer.status_code, dict(answer.headers), answer.content)).body

    def send_file(self, path: str, body: _http.FilePart) -> Any:
        """PUT of a part of a file; the decoded answer. EOFError: the file has become shorter."""
        return _json.loads(self._exchange_checked("PUT", path, body).body)

    def get_bytes(self, path: str, /, **query: object) -> bytes:
        """GET of what isn't JSON."""
        return self._request("GET", path + encode_query(query)).body

    def call(
        self,
        app: str,
        function: str,
        body: bytes,
        content_type: str,
        variant: str | None = None,
        watcher: Watcher | None = None,
    ) -> Reply:
        """Calls a function with an encoded body and waits for as long as it takes."""
        path = call_path(app, function, variant)
        if watcher is not None:
            return self._watched(path, body, content_type, "; gives=result", watcher)
        reply = self._exchange("POST", path, (body,), content_type, None)
        return self._told(reply, content_type)

    def spawn(
        self, app: str, function: str, body: bytes, content_type: str, options: dict[str, object]
    ) -> Any:
        """Starts a call that nobody waits for; the answer, once it is on the server's disk."""
        path = call_path(app, function) + encode_query(
            {
                "mode": "async",
                "ttl_ms": options.get("ttl_ms"),
                "variant": options.get("variant"),
                "webhook": options.get("webhook"),
                "priority": options.get("priority"),
            }
        )
        key = options.get("idempotency_key")
        head = f"Idempotency-Key: {key}\r\n" if key else ""
        reply = self._exchange("POST", path, (body,), content_type, _TIMEOUT_S, head)
        return _json.loads(_checked(reply, unpickle=content_type == PICKLE).body)

    def call_result(self, call_id: str, wait_ms: int, *, unpickle: bool = True) -> Reply | NotEnded:
        """The outcome of a call, if it has one after so long."""
        path = f"/api/v1/calls/{quote(call_id)}/result{encode_query({'wait_ms': wait_ms})}"
        reply = _checked(self._exchange("GET", path, (), JSON, None), unpickle=unpickle)
        if reply.status == _ACCEPTED:
            return _not_ended(_json.loads(reply.body))
        return reply

    async def call_async(
        self,
        app: str,
        function: str,
        body: bytes,
        content_type: str,
        variant: str | None = None,
        watcher: Watcher | None = None,
    ) -> Reply:
        """The same on the running event loop. Cancelling the awaiting task cancels the call."""
        import httpx

        if watcher is not None:
            return await self._watched_async(
                call_path(app, function, variant), body, content_type, watcher
            )
        try:
            answer = await self._async_client().post(
                self.config.url + call_path(app, function, variant),
                content=body,
                headers={"Content-Type": content_type},
            )
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        return self._told(
            Reply(answer.status_code, dict(answer.headers), answer.content), content_type
        )

    def call_items(
        self,
        app: str,
        function: str,
        body: bytes,
        variant: str | None = None,
        watcher: Watcher | None = None,
    ) -> Generator[bytes, None, None]:
        """Calls a generator function; its items as they come. Closing it cancels the call."""
        if watcher is not None:
            path = call_path(app, function, variant)
            reply = self._watched(path, body, PICKLE, "; gives=items", watcher)
        else:
            reply = self.call_either(app, function, body, PICKLE, variant)
        if reply.items is None:
            raise InternalError(f"{app}.{function}: the server gave one result, and no items")
        yield from reply.items

    def call_either(
        self,
        app: str,
        function: str,
        body: bytes,
        content_type: str,
        variant: str | None = None,
        watcher: Watcher | None = None,
    ) -> Reply:
        """Calls a function of either kind: the reply has a body, or it has items."""
        accept = f"Accept: {_items.CONTENT_TYPE}\r\n"
        path = call_path(app, function, variant)
        if watcher is not None:
            return self._watched(path, body, content_type, "", watcher)
        connection, status, headers = self._start("POST", path, (body,), content_type, None, accept)
        if headers.get("content-type") != _items.CONTENT_TYPE:
            return self._told(self._finish(connection, status, headers), content_type)
        reply = self._told(Reply(status, headers, b""), content_type)
        reply.items = self._read_items(connection, _items.Reader(unpickle=content_type == PICKLE))
        return reply

    def _watched(
        self, path: str, body: bytes, content_type: str, wants: str, watcher: Watcher
    ) -> Reply:
        """A call whose watcher is told how it goes, if it is answered in frames: if it waits."""
        accept = f"Accept: {_items.WATCHED}{wants}\r\n"
        try:
            connection, status, headers = self._start(
                "POST", path, (body,), content_type, None, accept
            )
            if headers.get("content-type") != _items.WATCHED:
                reply = self._told(self._finish(connection, status, headers), content_type)
                watcher.on_end()
                return reply
            reply = self._told(Reply(status, headers, b""), content_type)
            reader = _items.Reader(unpickle=content_type == PICKLE, watcher=watcher)
            items = self._read_items(connection, reader)
            first = next(items, None)
        except BaseException:
            watcher.on_end()
            raise
        if reader.result is None:
            reply.items = _watched_items(first, items, watcher)
            return reply
        watcher.on_end()
        return _with_report(reply, reader)

    async def _watched_async(
        self, path: str, body: bytes, content_type: str, watcher: Watcher
    ) -> Reply:
        """The same of one result, on the running event loop."""
        import httpx

        reader = _items.Reader(unpickle=content_type == PICKLE, watcher=watcher)
        headers = {
            "Content-Type": content_type,
            "Accept": f"{_items.WATCHED}; gives=result",
        }
        url = self.config.url + path
        stream = self._async_client().stream("POST", url, content=body, headers=headers)
        try:
            async with stream as answer:
                reply = Reply(answer.status_code, dict(answer.headers), b"")
                if reply.headers.get("content-type") != _items.WATCHED:
                    reply.body = await answer.aread()
                    return self._told(reply, content_type)
                self._told(reply, content_type)
                async for piece in answer.aiter_raw():
                    for _ in reader.feed(piece):
                        pass
                reader.check_end()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        finally:
            watcher.on_end()
        return _with_report(reply, reader)

    def _read_items(
        self, connection: _http.Connection, reader: _items.Reader
    ) -> Generator[bytes, None, None]:
        try:
            for piece in connection.read_body():
                yield from reader.feed(piece)
            reader.check_end()
        except (OSError, _http.ProtocolError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    async def call_items_async(
        self,
        app: str,
        function: str,
        body: bytes,
        variant: str | None = None,
        watcher: Watcher | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The same on the running event loop."""
        import httpx

        reader = _items.Reader(unpickle=True, watcher=watcher)
        url = self.config.url + call_path(app, function, variant)
        accept = _items.CONTENT_TYPE if watcher is None else f"{_items.WATCHED}; gives=items"
        headers = {"Content-Type": PICKLE, "Accept": accept}
        stream = self._async_client().stream("POST", url, content=body, headers=headers)
        try:
            async with stream as answer:
                if answer.status_code != 200:
                    body = await answer.aread()
                    self._told(Reply(answer.status_code, dict(answer.headers), body), PICKLE)
                elif self.on_call is not None:
                    self.on_call(dict(answer.headers))
                async for piece in answer.aiter_raw():
                    for item in reader.feed(piece):
                        yield item
                reader.check_end()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        finally:
            if watcher is not None:
                watcher.on_end()

    def _async_client(self) -> httpx.AsyncClient:
        """The client of the running loop: its connections can't be used on another."""
        import asyncio
        import weakref

        import httpx

        if self._async is None:
            self._async = weakref.WeakKeyDictionary()
        loop = asyncio.get_running_loop()
        client = self._async.get(loop)
        if client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
            key = {"Authorization": f"Bearer {self.config.key}"}
            client = httpx.AsyncClient(headers=key, timeout=None, limits=limits)
            self._async[loop] = client
        return client

    def stream_ndjson(
        self, path: str, *, method: str = "GET", body: object = None, **query: object
    ) -> Iterator[Any]:
        """The documents of an answer of one JSON document a line, as they come."""
        data = () if body is None else (_json.dumps(body).encode(),)
        connection, status, headers = self._start(
            method, path + encode_query(query), data, JSON, timeout_s=None
        )
        try:
            if status >= 300:
                _checked(Reply(status, headers, b"".join(connection.read_body())))
            rest = b""
            for piece in connection.read_body():
                *lines, rest = (rest + piece).split(b"\n")
                yield from (_json.loads(line) for line in lines if line.strip())
            if rest.strip():
                yield _json.loads(rest)
        except (OSError, _http.ProtocolError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def open_messages(self, path: str) -> WebSocket:
        """Leaves HTTP for WebSocket at a path."""
        from ember import _websocket

        key = _websocket.new_key()
        head = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n"
        )
        connection, status, headers = self._start("GET", path, (), JSON, _TIMEOUT_S, head)
        if status == 101 and headers.get("sec-websocket-accept") == _websocket.accept_of(key):
            return _websocket.WebSocket(*connection.detach())
        try:
            body = b"".join(connection.read_body())
        except (OSError, _http.ProtocolError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        _checked(Reply(status if status >= 300 else 500, headers, body))
        raise AssertionError("it has raised")

    def _told(self, reply: Reply, content_type: str) -> Reply:
        """The checked reply; who speaks pickle gets exceptions as objects, all others as text."""
        if self.on_call is not None:
            self.on_call(reply.headers)
        return _checked(reply, unpickle=content_type == PICKLE)

    def _request(
        self, method: str, path: str, body: Sequence[bytes] = (), content_type: str = JSON
    ) -> Reply:
        return _checked(self._exchange(method, path, body, content_type, _TIMEOUT_S))

    def _exchange_checked(
        self, method: str, path: str, data: Sequence[bytes] | _http.FilePart
    ) -> Reply:
        # No time limit: a server may hash for long, and a disk be slow.
        return _checked(self._exchange(method, path, data, "application/octet-stream", None))

    def _exchange(
        self,
        method: str,
        path: str,
        body: Sequence[bytes] | _http.FilePart,
        content_type: str,
        timeout_s: float | None,
        more_head: str = "",
    ) -> Reply:
        """One request and its whole answer, whatever its status."""
        return self._finish(*self._start(method, path, body, content_type, timeout_s, more_head))

    def _finish(self, connection: _http.Connection, status: int, headers: dict[str, str]) -> Reply:
        """The whole answer that has begun; its connection is kept for the next."""
        try:
            data = b"".join(connection.read_body())
        except (OSError, _http.ProtocolError) as error:
            connection.close()
            raise self._unreachable(error) from error
        except BaseException:
            connection.close()  # Ctrl-C: hanging up is what cancels the call
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return Reply(status, headers, data)

    def _start(
        self,
        method: str,
        path: str,
        body: Sequence[bytes] | _http.FilePart,
        content_type: str,
        timeout_s: float | None,
        more_head: str = "",
    ) -> tuple[_http.Connection, int, dict[str, str]]:
        """Sends a request and reads the head of its answer."""
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._head}"
        head += more_head
        in_file = isinstance(body, _http.FilePart)
        if body or method != "GET":
            size_bytes = body.size_bytes if in_file else sum(map(len, body))
            head += f"Content-Type: {content_type}\r\nContent-Length: {size_bytes}\r\n"
        connection = None
        try:
            connection = self._connection()
            if in_file:
                connection.send_file(head + "\r\n", body)
            else:
                connection.send(head + "\r\n", body, timeout_s)
            return (connection, *connection.read_head())
        except (OSError, ValueError, IndexError, _http.ProtocolError) as error:
            if connection is not None:
                connection.close()
            raise self._unreachable(error) from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise

    def _connection(self) -> _http.Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                break
            if not connection.is_stale():
                return connection
            connection.close()
        host, port, tls = self._address
        return _http.Connection(host, port, tls=tls)

    def _unreachable(self, error: Exception) -> UnavailableError:
        why = str(error) or type(error).__name__
        if isinstance(error, ConnectionRefusedError):
            why = "nothing listens there; start it with `ember up`"
        elif isinstance(error, TimeoutError):
            why = "no answer in time; see `ember status`"
        return UnavailableError(f"no answer from Ember at {self.config.url}: {why}")


_shared: Client | None = None


def shared() -> Client:
    """The process's client, made at the first use from the configuration of that moment."""
    global _shared
    if _shared is None:
        _shared = Client()
    return _shared


def _watched_items(
    first: bytes | None, items: Generator[bytes, None, None], watcher: Watcher
) -> Generator[bytes, None, None]:
    """All items, of which one has been read ahead, or there are none."""
    try:
        if first is not None:
            yield first
            yield from items
    finally:
        watcher.on_end()
        items.close()


def _with_report(reply: Reply, reader: _items.Reader) -> Reply:
    """The reply that would have been without frames, as far as anybody looks at it."""
    report = reader.report or {}
    reply.body = reader.result or b""
    timing = {
        "queue": report["queued_us"],
        "boot": 1000 * report["boot_ms"],
        "load": 1000 * report["load_ms"],
        "execute": report["execute_us"],
        "total": report["total_us"],
    }
    reply.headers["ember-container-id"] = report["container_id"]
    reply.headers["ember-cold"] = "true" if report["cold"] else "false"
    reply.headers["server-timing"] = ", ".join(
        f"{name};dur={us / 1000:g}" for name, us in timing.items()
    )
    return reply


def _not_ended(document: dict[str, Any]) -> NotEnded:
    """Of a call's document."""
    why = document.get("reason") or document.get("state") or "it has not ended"
    return NotEnded(f"{document.get('call_id')}: {why}")


def call_path(app: str, function: str, variant: str | None = None) -> str:
    """The path that calls a function, or a variant of it."""
    return f"/fn/{quote(app)}/{quote(function)}" + (f"?variant={variant}" if variant else "")


def variants_path(app: str, function: str) -> str:
    """The path that makes variants of a function or class."""
    return app_path(app, f"functions/{quote(function)}/variants")


def function_path(app: str, function: str, verb: str, variant: str | None) -> str:
    """The path of something to do with a function, or with a variant of it."""
    which = f"?variant={variant}" if variant else ""
    return app_path(app, f"functions/{quote(function)}/{verb}") + which


def app_path(app: str, verb: str = "") -> str:
    """The path of an app, or of something to do with it."""
    return f"/api/v1/apps/{quote(app)}{'/' + verb if verb else ''}"


def volume_path(volume: str, verb: str = "") -> str:
    """The path of a volume, or of something to do with it."""
    return f"/api/v1/volumes/{quote(volume)}{'/' + verb if verb else ''}"


def shared_path(kind: str, name: str = "") -> str:
    """The path of a dictionary or a queue, or of all that there are."""
    return f"/api/v1/{kind}s" + (f"/{quote(name)}" if name else "")


def quote(text: str) -> str:
    """Text as one segment of a path or one value of a query."""
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-._~" else f"%{byte:02X}"
        for byte in text.encode()
    )


def encode_query(query: dict[str, object]) -> str:
    """`?a=1&b=true`, or nothing; None is left out."""
    pairs = [
        f"{name}={quote(str(value).lower() if isinstance(value, bool) else str(value))}"
        for name, value in query.items()
        if value is not None
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _checked(reply: Reply, *, unpickle: bool = False) -> Reply:
    """The reply, or the exception that its error body stands for."""
    if 200 <= reply.status < 300:
        return reply
    try:
        body = dict(_json.loads(reply.body)["error"])
    except (ValueError, KeyError, TypeError):
        raise InternalError(
            f"status {reply.status} without an error of Ember's: {reply.body[:200]!r}; "
            "is EMBER_URL the URL of an Ember server?"
        ) from None
    after = reply.headers.get("retry-after", "")
    body.setdefault("call_id", reply.headers.get("ember-call-id"))
    retry_after_s = float(after) if after.isdigit() else None
    raise from_error_body(body, retry_after_s=retry_after_s, unpickle=unpickle)
