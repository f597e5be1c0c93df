"""A map's conversation with the server (docs/reference/http.md), on a thread of its own.

The thread always reads, so that the server is answered while the user is at something else; how
much may come is bounded by what the flow has let out.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import time

from ember import _client, _context, _json, _variant
from ember._map_flow import Flow, Outcome
from ember._websocket import BYTES, TEXT, Broken
from ember.exception import UnavailableError, from_error_body, from_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ember._variant import Variant
    from ember._websocket import WebSocket

_INPUT_HEAD = struct.Struct("<QIB")  # number, length, format
_RESULT_HEAD = struct.Struct("<QIBQ")  # number, length, kind, call id
_PICKLE = 2
_FAILED = 0x80
_TAKEN_STEP = 64 << 10
_MESSAGE_BYTES = 512 << 10
_SILENCE_S = 60.0  # the server says something every 15


class SocketLink:
    """Carries one map's inputs and results."""

    def __init__(self, flow: Flow, app: str, function: str, variant: Variant | None) -> None:
        self._flow = flow
        self._name = f"{app}.{function}"
        path = _client.function_path(app, function, "map", _variant.id_of(app, variant))
        self._socket: WebSocket = _client.shared().open_messages(path)
        self._wake_reads, self._wake_writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = threading.Lock()  # guards what follows
        self._outgoing: list[bytes] = []
        self._awake = False  # the thread will look without another byte in the pipe
        self._input_over = self._closed = self._gone = False
        # The thread's own:
        self._incoming = bytearray()
        self._untold = 0  # bytes that came, of which the server has not been told
        self._end_told = False
        self._ended = False
        self._heard_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="ember-map", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, number: int, body: bytes) -> None:
        """Sends an input, soon."""
        with self._lock:
            self._outgoing += (_INPUT_HEAD.pack(number, len(body), _PICKLE), body)
            self._wake()

    def end_of_inputs(self) -> None:
        with self._lock:
            self._input_over = True
            self._wake()

    def close(self) -> None:
        """Hangs up, which withdraws what is under way."""
        with self._lock:
            self._closed = True
            self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def wait(self) -> None:
        """Blocks until the flow has something to take."""
        while self._flow.is_idle():
            self._flow.sleep()

    def _wake(self) -> None:
        if not self._awake and not self._gone:
            self._awake = True
            os.write(self._wake_writes, b"\0")

    # --- the thread ---

    def _run(self) -> None:
        try:
            while not self._ended and not self._closed:
                self._turn()
        except Broken as error:
            self._flow.fail(self._broken(str(error)))
        except BaseException as error:
            self._flow.fail(error)
        finally:
            self._socket.close()
            with self._lock:
                self._gone = True
                os.close(self._wake_reads)
                os.close(self._wake_writes)

    def _turn(self) -> None:
        unread = self._socket.has_unread()
        sources = [self._socket, self._wake_reads]
        readable, _, _ = select.select(sources, [], [], 0.0 if unread else 5.0)
        if self._wake_reads in readable:
            os.read(self._wake_reads, 16)
        self._send_inputs()
        if unread or self._socket in readable:
            self._receive()
        elif time.monotonic() - self._heard_s > _SILENCE_S:
            raise Broken("not a word came from it for a minute")

    def _send_inputs(self) -> None:
        with self._lock:
            self._awake = False
            outgoing, self._outgoing = self._outgoing, []
            over = self._input_over
        if self._closed:
            return
        if outgoing:
            data = b"".join(outgoing)
            for begin in range(0, len(data), _MESSAGE_BYTES):
                self._socket.send(BYTES, data[begin : begin + _MESSAGE_BYTES])
        if over and not self._end_told:
            self._end_told = True
            self._say({"end_of_input": True})

    def _receive(self) -> None:
        self._heard_s = time.monotonic()
        for kind, payload in self._socket.receive():
            if kind == BYTES:
                self._incoming += payload
                self._untold += len(payload)
            else:
                self._on_word(_json.loads(payload))
        if self._incoming:
            outcomes = self._outcomes()
            if outcomes:
                self._flow.answered(outcomes)
        if self._untold >= _TAKEN_STEP and not self._ended:
            self._say({"taken": self._untold})
            self._untold = 0
        if self._socket.closed and not self._ended:
            raise Broken("it ended the map without a word")

    def _outcomes(self) -> list[Outcome]:
        """The results that have wholly come."""
        incoming, begin = self._incoming, 0
        found = []
        while len(incoming) - begin >= _RESULT_HEAD.size:
            number, length, kind, call = _RESULT_HEAD.unpack_from(incoming, begin)
            end = begin + _RESULT_HEAD.size + length
            if end > len(incoming):
                break
            body = bytes(incoming[begin + _RESULT_HEAD.size : end])
            found.append(Outcome(number, body, _error_of(body, call) if kind & _FAILED else None))
            begin = end
        del incoming[:begin]
        return found

    def _on_word(self, document: dict[str, Any]) -> None:
        if window := document.get("window"):
            self._flow.widen(window["inputs"], window["bytes"])
        if totals := document.get("progress") or document.get("end"):
            self._flow.totals = totals
        if "end" in document:
            self._ended = True
        if "error" in document:
            self._ended = True
            self._flow.fail(from_error_body(document["error"]))

    def _say(self, document: dict[str, Any]) -> None:
        self._socket.send(TEXT, _json.dumps(document).encode())

    def _broken(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"the connection to the server broke during a map of {self._name}: {why}; "
            f"{self._flow.unanswered} inputs had no result yet; see `ember status`, and start "
            "the map again with what is left"
        )


def _error_of(body: bytes, call: int) -> Callable[[], BaseException]:
    call_id = _context.id_text("fc", call) if call else None
    return lambda: from_report(_json.loads(body), call_id=call_id, unpickle=True)
